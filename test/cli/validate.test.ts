import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import yargs from 'yargs';
import { COMMANDS, whenUsed } from '#bang/cli/commands.js';
import { configJsonSchema } from '#bang/cli/schema.js';
import { summary, validateCommand } from '#bang/cli/validate.js';
import { UserError } from '#bang/base/errors.js';
import { configSchema } from '#bang/config/experimentSchema.js';
import { readBaseline } from '#bang/check/baseline.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { builtInText } from '#bang/config/builtIn.js';
import { noiseSchema } from '#bang/config/noise.js';
import { sweepSchema } from '#bang/config/sweep.js';
import { keysOf } from '#bang/config/problems.js';
import { packageRoot } from '#bang/base/files.js';
import { SCALARS } from '#bang/metrics/quantities.js';

const b1 = path.join(packageRoot, 'configs', 'lenet-b1.yaml');
const r0 = path.join(packageRoot, 'configs', 'lenet-r0.yaml');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-validate-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** What a command line prints; throws what the command throws. */
async function bang(...args: string[]): Promise<string> {
  let printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    printed += String(chunk);
    return true;
  });
  try {
    await yargs(args)
      .scriptName('bang')
      .command(COMMANDS.map(whenUsed))
      .strict()
      .exitProcess(false)
      .fail((message: string | null, error: Error | undefined) => {
        throw error ?? new Error(message ?? '');
      })
      .parseAsync();
  } finally {
    vi.restoreAllMocks();
  }
  return printed;
}

describe('bang validate', () => {
  it('prints a line for each file', async () => {
    expect(await bang('validate', b1, r0)).toBe(
      `${b1}: ok (lenet on mnist, BANG beta 1, epsilon 0.815)\n` +
        `${r0}: ok (lenet on mnist, regular training)\n`,
    );
  });

  it('reads sweeps, too', async () => {
    const sweep = path.join(folder, 'sweep.yaml');
    writeFileSync(sweep, `base: ${b1}\ngrid: {training.bang.beta: [1, 2]}\nseeds: [1, 2]\n`);
    expect(await bang('validate', sweep)).toBe(
      `${sweep}: ok (sweep over training.bang.beta, 4 cells)\n`,
    );
  });

  it('takes --set before and after the files', async () => {
    const set = ['--set', 'training.bang.beta=1.2', '--set=training.bang.ratio=0.5'];
    const line = `${b1}: ok (lenet on mnist, BANG beta 1.2, epsilon 0.815, ratio 0.5)\n`;
    expect(await bang('validate', ...set, b1)).toBe(line);
    expect(await bang('validate', b1, ...set)).toBe(line);
  });

  it('checks all files, and then throws all problems', async () => {
    const bad = path.join(folder, 'bad.yaml');
    writeFileSync(bad, `extends: ${r0}\nsead: 1\ntrainin: {}\n`);
    const none = path.join(folder, 'none.yaml');
    const printed: string[] = [];
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      printed.push(String(chunk));
      return true;
    });
    await expect(
      (async () => {
        await validateCommand.handler({ files: [bad, none, b1], set: [], _: [], $0: 'bang' });
      })(),
    ).rejects.toThrow(
      new UserError(
        '2 of 3 files are not valid\n' +
          `${bad}:2:1: sead: unknown key, did you mean seed?\n` +
          `${bad}:3:1: trainin: unknown key, did you mean training?\n` +
          `cannot read ${none}: there is no such file`,
      ),
    );
    write.mockRestore();
    expect(printed).toEqual([`${b1}: ok (lenet on mnist, BANG beta 1, epsilon 0.815)\n`]);
  });

  it('reports one problem in one line', async () => {
    await expect(bang('validate', b1, '--set', 'training.bang.betta=1')).rejects.toThrow(
      new UserError('--set training.bang.betta: unknown key, did you mean beta?'),
    );
  });

  it('notes unusual settings', async () => {
    const rate =
      'training.learningRate={policy: step, factor: 1, at: [99999], gamma: null, power: null}';
    expect(await bang('validate', r0, '--set', rate)).toContain(
      `${r0}: note: training.learningRate.at`,
    );
  });

  it('names layers that differ', async () => {
    const beta = 'training.bang.beta={conv1: 1, conv2: 1.5, ip1: 1, ip2: 0}';
    const { config } = await loadConfig(b1, [beta]);
    expect(summary(config)).toBe(
      'lenet on mnist, BANG beta 1 (conv1) 1.5 (conv2) 1 (ip1) 0 (ip2), epsilon 0.815',
    );
  });

  it('counts the parameters of your own network', async () => {
    const file = path.join(packageRoot, 'configs', 'examples', 'own-network.yaml');
    const { config } = await loadConfig(file, ['training.bang=null']);
    // 5²·8+8, 3²·8·16+16, 6²·16·64+64, 64·10+10
    expect(summary(config)).toBe(
      'own network (conv1, conv2, ip1, ip2; 38 954 parameters) on mnist, regular training',
    );
  });

  it('needs a file', async () => {
    await expect(bang('validate')).rejects.toThrow(/not enough/i);
  });
});

describe('bang init', () => {
  const startingText = builtInText('examples/start');

  it('writes a valid file: row B1, attacked as the published row was', async () => {
    const file = path.join(folder, 'deep', 'lenet-b1.yaml');
    expect(await bang('init', file)).toContain(`bang run ${file}`);
    const { config, sources } = await loadConfig(file);
    expect(sources).toEqual([file]);
    const { description, ...rest } = config;
    expect(description).toBeDefined();
    expect(rest).toEqual((await loadConfig(b1)).config);
  });

  it('does not overwrite unless told to', async () => {
    const file = path.join(folder, 'mine.yaml');
    writeFileSync(file, 'mine');
    await expect(bang('init', file)).rejects.toThrow(
      new UserError(`${file} exists already; --force overwrites it`),
    );
    expect(readFileSync(file, 'utf8')).toBe('mine');
    await bang('init', file, '--force');
    expect(readFileSync(file, 'utf8')).toBe(startingText);
  });

  it('refuses a name that is not that of a YAML file', async () => {
    await expect(bang('init', path.join(folder, 'x.json'))).rejects.toThrow(
      /x\.json: a configuration is YAML, so name it x\.yaml$/,
    );
  });

  it('names a file where a folder is given, and the command that takes it', async () => {
    const place = path.join(folder, 'a folder');
    for (const [given, ...force] of [[`${place}/`], [folder], [folder, '--force']]) {
      await expect(bang('init', given, ...force)).rejects.toThrow(
        new UserError(
          `${given} is a folder: name a file, such as ${path.join(given, 'bang.yaml')}`,
        ),
      );
    }
    const file = path.join(place, "it's.yaml");
    const quoted = file.replace("'", String.raw`'\''`);
    expect(await bang('init', file)).toContain(`bang run '${quoted}'\n`);
  });

  it('copies an example with a name and a baseline of its own', async () => {
    for (const name of ['one', 'two']) {
      const file = path.join(folder, 'copies', `${name}.yaml`);
      await bang('init', file, '--example', 'ci/lenet-b1');
      const { config, expect: expected } = await loadConfig(file);
      expect(config.name).toBe(name);
      expect(expected!.baseline).toBe(path.join(folder, 'copies', `${name}.baseline.json`));
      expect((await readBaseline(expected!.baseline!)).name).toBe('ci-lenet-b1');
    }
  });

  it('prints it', async () => {
    expect(await bang('init', '--stdout')).toBe(startingText);
  });

  it('explains every key', () => {
    const own = keysOf(configSchema).filter((key) => !key.startsWith('expect.'));
    for (const key of ['extends', ...own.map((key) => key.split('.').at(-1)!)]) {
      expect(startingText).toMatch(new RegExp(`\\b${key}:\\s`));
    }
    // Of the numbers that can be expected, each kind once.
    for (const { name, quantity } of SCALARS) {
      const kind = name.slice(quantity.attack?.length ?? 0);
      expect(startingText).toMatch(new RegExp(`${kind}:\\s`));
    }
  });

  it('explains learning rates that are valid', async () => {
    const rates = startingText.match(/\{policy: .*?\}/g)!;
    expect(rates).toHaveLength(4);
    for (const rate of rates) {
      const file = path.join(folder, 'rate.yaml');
      writeFileSync(
        file,
        startingText.replace(/^ {2}learningRate: .*$/m, `  learningRate: ${rate}`),
      );
      await loadConfig(file);
    }
  });
});

describe('bang schema', () => {
  it('is the committed schema', async () => {
    const committed = readFileSync(path.join(packageRoot, 'configs', 'schema.json'), 'utf8');
    expect(await bang('schema')).toBe(committed);
    const ofNoise = path.join(packageRoot, 'configs', 'noise', 'schema.json');
    expect(await bang('schema', 'noise')).toBe(readFileSync(ofNoise, 'utf8'));
    const ofSweeps = path.join(packageRoot, 'configs', 'grids', 'schema.json');
    expect(await bang('schema', 'sweep')).toBe(readFileSync(ofSweeps, 'utf8'));
  });

  it.each([
    ['experiment', configSchema],
    ['noise', noiseSchema],
    ['sweep', sweepSchema],
  ] as const)('describes every key of %s, requires none, and knows extends', (kind, schema) => {
    interface Node {
      description?: string;
      required?: unknown;
      properties?: Record<string, Node>;
      anyOf?: Node[];
      items?: Node;
      type?: unknown;
    }
    const keys = new Set<string>();
    const visit = (node: Node, at: string[]) => {
      expect(node.required).toBeUndefined();
      for (const member of node.anyOf ?? []) visit(member, at);
      if (node.items) visit(node.items, [...at.slice(0, -1), `${at.at(-1)}[]`]);
      for (const [key, value] of Object.entries(node.properties ?? {})) {
        // What one policy has, another can only drop.
        if (value.type === 'null') continue;
        keys.add([...at, key].join('.'));
        expect(value.description, key).toMatch(/\.$/);
        visit(value, [...at, key]);
      }
    };
    visit(configJsonSchema(kind), []);
    expect([...keys].sort()).toEqual(['extends', ...keysOf(schema)].sort());
  });
});

it.each(['validate', 'init', 'schema'])('bang %s --help has examples', async (command) => {
  let help = '';
  vi.spyOn(console, 'log').mockImplementation((text: string) => {
    help += text;
  });
  await bang(command, '--help');
  expect(help).toMatch(/Examples:/);
});
