import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { parse } from '#bang/cli/main.js';
import { fixture } from '../fixtures.js';
import { bangInside, workspace, type Workspace } from './bang.js';
import { commandsIn, DOCUMENTS, type Shown } from './documents.js';

/** These run the commands of their pages themselves. */
const TESTED_ELSEWHERE = ['docs/tutorial.md', 'docs/models.md', 'docs/ci.md'];

const scripts = Object.keys(
  (
    JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    }
  ).scripts,
);

/** A folder like a clone in which some of what the documents compute has been computed. */
let space: Workspace;
const home = process.cwd();
beforeAll(async () => {
  space = workspace();
  for (const name of ['configs', 'test', 'scripts']) {
    symlinkSync(path.join(packageRoot, name), space.file(name));
  }
  const results = (...parts: string[]) => path.join(packageRoot, 'results', ...parts);
  cpSync(results(), space.file('results'), { recursive: true });
  // Under the names that the documents give to runs: what needs no weights runs on these.
  for (const [from, to] of [
    ['table1', 'table1'],
    ['table2', 'table2'],
    ['table1/lenet-b1', 'seeds/lenet-b1'],
    ['table1/lenet-r0/seed-1', 'lenet-r0'],
    ['table1/lenet-b1/seed-1', 'lenet-b1'],
    ['robustness', 'robustness'],
    ['grids/lenet', 'lenet'],
  ]) {
    cpSync(results(from), space.file('runs', to), { recursive: true });
  }
  mkdirSync(space.file('docs'));
  cpSync(fixture('lenet.caffemodel.h5'), space.file('lenet.caffemodel.h5'));
  process.chdir(space.folder);
  await run(['figure', 'training', 'runs/lenet-b1', '--format', 'svg']);
  await run(['export', 'lenet.caffemodel.h5', '--to', 'safetensors', '--out', 'w.safetensors']);
  for (const name of ['lenet-r0', 'lenet-b1', 'table1/lenet-r0/seed-1', 'table1/lenet-b1/seed-1']) {
    cpSync('w.safetensors', `runs/${name}/weights.safetensors`);
  }
});
afterAll(() => {
  process.chdir(home);
  space.remove();
});

async function run(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await bangInside(args);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: expect.anything() as string });
  return stdout;
}

class Stop extends Error {
  constructor(readonly parsed: Record<string, unknown>) {
    super('stopped');
  }
}

/** What the program makes of a command line, or its complaint. */
async function parsed(args: string[]): Promise<Record<string, unknown> | string> {
  try {
    await parse(args, (found) => {
      throw new Stop(found);
    });
    return {};
  } catch (error) {
    return error instanceof Stop ? error.parsed : (error as Error).message;
  }
}

/** The options with a value of a command line, without these. */
function without(args: readonly string[], ...names: string[]): string[] {
  return args.filter((arg, i) => !names.includes(arg) && !names.includes(args[i - 1]));
}

/** What makes an evaluation a matter of a moment. */
const FEW = [
  'images=2',
  'pass=false',
  'apgd={steps: 2, restarts: 0}',
  'square={queries: 20}',
  'pgd={steps: 2, restarts: 1}',
].flatMap((one) => ['--set', `evaluation.${one}`]);

/** Of a command line the one that is run in its place; undefined if it is only parsed, or tested elsewhere. */
function runnable(args: readonly string[], out: string): string[] | undefined {
  const [name, ...more] = args;
  const inputs = without(more, '--out', '--set', '--attacks').filter((arg) => /\w\/\w/.test(arg));
  if (inputs.some((input) => !existsSync(input) && !input.includes('://'))) return undefined;
  switch (name) {
    // All that they would check before they begin to compute.
    case 'run':
    case 'noise':
    case 'check': {
      const isOption = more.findIndex((arg) => arg.startsWith('--'));
      const files = isOption < 0 ? more : more.slice(0, isOption);
      const set = more.flatMap((arg, i) => (more[i - 1] === '--set' ? ['--set', arg] : []));
      return files.length > 0 && files.every((file) => !/[A-Z…]|^mine/.test(file))
        ? ['validate', ...files, ...set]
        : undefined;
    }
    case 'sweep':
      if (more[0] === 'status') return existsSync(more[1]) ? [...args] : undefined;
      if (['compare', 'cancel', 'retry'].includes(more[0])) return undefined;
      return [
        ...without(args, '--queue', '--out').filter((arg) => arg !== '--dry-run'),
        '--dry-run',
      ];
    case 'eval':
      if (!existsSync(more[0]) || more.includes('--on')) return undefined;
      return [...without(args, '--out'), ...FEW, '--threads', '1', '--out', out];
    case 'transfer':
      if (!existsSync(path.join(more[0], 'weights.safetensors'))) return undefined;
      return [...without(args, '--out'), ...FEW, '--attacks', 'fgs-unmasked', '--out', out];
    case 'figure':
      if (/[A-Z…]/.test(more.join('')) || more.some((arg) => /^runs\/.*cifar10/.test(arg)))
        return undefined;
      return [...without(args, '--out', '--format'), '--format', 'svg', '--out', out];
    case 'report':
    case 'table':
      // The page of all results is that of test/browser.
      if (!existsSync(more[0]) || more[0] === 'runs' || more[0] === 'results/table1')
        return undefined;
      return [
        ...without(args, '--out'),
        ...(name === 'report' ? ['--examples', '0'] : []),
        '--out',
        out,
      ];
    case 'export':
      return existsSync(more[0]) ? [...without(args, '--out'), '--out', out] : undefined;
    case 'diff':
      return existsSync(more[0]) ? [...args] : undefined;
    case 'init':
      return more.includes('NAME')
        ? undefined
        : [
            'init',
            `${out}.yaml`,
            ...args
              .slice(args.indexOf('--example'))
              .filter((_, i) => args.includes('--example') && i < 2),
          ];
    case 'config':
      return existsSync(more[0]) ? [...args] : undefined;
    case 'configs':
    case 'schema':
    case '--version':
      return [...args];
    default:
      return undefined;
  }
}

/** Takes longer than one waits for it: then its section says how long, as it was measured. */
const LONG =
  /^(run|noise|check) |^sweep (?!status|compare|cancel|retry|.*--dry-run)|^eval (?!net|other).*(auto|apgd)/;
const DURATION =
  /\b(an?|half an?|\d+(\.\d+)?|two|three|four|five|six|eight|ten)\s(s|min|h|seconds?|minutes?|hours?)\b/;

/** What was run, which several documents may show. */
const done = new Set<string>();

describe.each(DOCUMENTS)('%s', (document) => {
  it('has commands that the program takes, and that work', async () => {
    const shown = commandsIn(document, space.folder);
    const wrong: string[] = [];
    let count = 0;
    for (const { program, args, folder, isInText } of shown) {
      // Of what a sentence joins, the first.
      const end = args.findIndex((arg) => ['>', '|', '&&'].includes(arg));
      const own = end < 0 ? args : args.slice(0, end);
      const text = own.join(' ');
      if (program === 'npm') {
        if (own[0] === 'run' && !scripts.includes(own[1]))
          wrong.push(`npm ${text}: no such script`);
        continue;
      }
      const found = await parsed(own);
      if (typeof found === 'string') {
        // A sentence may speak of a command without its arguments, or of a mistake.
        const isMention =
          isInText &&
          /an argument is missing|needs a value|found "NAME"|- is no option/.test(found);
        if (!isMention) wrong.push(`bang ${text}: ${found}`);
        continue;
      }
      if (TESTED_ELSEWHERE.includes(document) && !isInText) continue;
      process.chdir(space.file(folder));
      const out = space.file('out', `${path.basename(document)}-${count++}`);
      const instead = runnable(own, out);
      if (instead && !done.has(`${folder} ${text}`)) {
        done.add(`${folder} ${text}`);
        const { code, stderr } = await bangInside(instead);
        if (code !== 0) wrong.push(`bang ${text}: ${stderr}`);
        // The figures of the documents are what the commands beside them draw.
        const at = own.indexOf('--out');
        const figures = at < 0 ? '' : path.resolve(packageRoot, folder, own[at + 1]);
        if (code === 0 && own[0] === 'figure' && figures.includes(`${path.sep}docs${path.sep}`)) {
          for (const file of [`${own[1]}.csv`, `${own[1]}.svg`]) {
            const [drawn, kept] = [out, figures].map((place) =>
              readFileSync(path.join(place, file), 'utf8'),
            );
            expect(drawn === kept, `${file} is what is drawn by bang ${text}`).toBe(true);
          }
        }
      }
      process.chdir(space.folder);
    }
    expect(wrong).toEqual([]);
  });

  it('says how long those take that are not quick', () => {
    const silent = commandsIn(document, space.folder).filter(
      ({ program, args, section, isInText }: Shown) =>
        program === 'bang' && !isInText && LONG.test(args.join(' ')) && !DURATION.test(section),
    );
    expect(silent.map(({ args }) => `bang ${args.join(' ')}`)).toEqual([]);
  });
});
