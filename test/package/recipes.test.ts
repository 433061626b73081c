import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { packageRoot } from '#bang/base/files.js';
import { cacheFolder } from '#bang/base/cacheFolder.js';
import { bangInsideOk, executable, workspace } from '../cli/bang.js';

// What others copy, or call, is run here where it can be, and read closely where it cannot: there is neither
// GitHub nor Docker in a test.

const textOf = (file: string): string => readFileSync(path.join(packageRoot, file), 'utf8');

interface Step {
  id?: string;
  uses?: string;
  run?: string;
  shell?: string;
  if?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
  'working-directory'?: string;
}

interface Action {
  inputs: Record<string, { description: string; required?: boolean; default?: string }>;
  outputs: Record<string, { description: string; value: string }>;
  runs: { using: string; steps: Step[] };
}

const space = workspace();
afterAll(() => {
  space.remove();
});

/** A check that takes a second; its accuracy is between 0 and 100. */
const check = (band: string): string => `extends: lenet-r0
name: tiny
training: { iterations: 20, batch: 16, logEvery: 20 }
evaluation: { images: 20, attacks: [fgs], pass: false }
published: null
expect: { accuracy: ${band} }
`;

describe('the GitHub action', () => {
  const action = parse(textOf('action.yml')) as Action;
  const { inputs, outputs, runs } = action;

  it('names only inputs, steps and outputs that it has', () => {
    expect(runs.using).toBe('composite');
    const text = textOf('action.yml');
    const ids = runs.steps.map(({ id }) => id);
    const used = [...text.matchAll(/\$\{\{ ([\w.-]+) \}\}/g)].map(([, name]) => name.split('.'));
    expect(used.length).toBeGreaterThan(10);
    for (const [context, ...names] of used) {
      if (context === 'inputs') expect(Object.keys(inputs)).toContain(names[0]);
      else if (context === 'steps') {
        const step = runs.steps[ids.indexOf(names[0])];
        expect(step.run).toContain(`${names[2]}=`);
      } else expect([context, ...names].join('.')).toBe('runner.temp');
    }
    const read = used.filter(([context]) => context === 'inputs').map(([, name]) => name);
    expect(new Set(read)).toEqual(new Set(Object.keys(inputs)));
    for (const { run, shell, uses } of runs.steps) {
      if (run !== undefined) expect(shell).toBe('bash');
      else expect(uses).toMatch(/^actions\/[a-z-]+@v\d+$/);
      // Values of others, which a shell would execute.
      expect(run ?? '').not.toContain('${{');
    }
  });

  /** Runs the action's own steps as GitHub would, in a folder of somebody else's. */
  function steps(folder: string, given: Record<string, string>) {
    const values = new Map(
      Object.entries(inputs).map(([name, { default: usual }]) => [name, usual]),
    );
    for (const [name, value] of Object.entries(given)) values.set(name, value);
    const output = space.write(`${folder}.output`, '');
    const summary = space.write(`${folder}.summary`, '');
    const temporary = space.file(`${folder}.temp`);
    const cache = path.join(temporary, 'bang-cache');
    mkdirSync(temporary);
    // As the step before has left it.
    symlinkSync(cacheFolder(), cache);
    const filled = (text: string): string =>
      text.replace(/\$\{\{ ([\w-]+)\.([\w-]+) \}\}/g, (_, context: string, name: string) =>
        context === 'inputs' ? (values.get(name) ?? '') : temporary,
      );
    return {
      summary: () => readFileSync(summary, 'utf8'),
      outputs: () =>
        Object.fromEntries(
          readFileSync(output, 'utf8')
            .trim()
            .split('\n')
            .map((line) => line.split('=', 2) as [string, string]),
        ),
      commands: runs.steps
        .filter(({ run }) => run !== undefined)
        .map(({ run, env = {}, 'working-directory': at = '.' }) => ({
          args: ['--noprofile', '--norc', '-eo', 'pipefail', '-c', run!],
          options: {
            cwd: path.join(space.file(folder), filled(at)),
            encoding: 'utf8' as const,
            env: {
              ...process.env,
              ...Object.fromEntries(Object.entries(env).map(([k, v]) => [k, filled(v)])),
              GITHUB_ACTIONS: 'true',
              GITHUB_ACTION_PATH: packageRoot,
              GITHUB_OUTPUT: output,
              GITHUB_STEP_SUMMARY: summary,
              GITHUB_WORKSPACE: space.file(folder),
            },
          },
        })),
    };
  }

  it('checks, and leaves its outputs, a summary and the files', () => {
    space.write('good/experiments/checks/a b.yaml', check('{ min: 0 }'));
    space.write('good/experiments/checks/tiny.yaml', check('{ min: 0, max: 100 }'));
    const job = steps('good', {
      configs: 'checks/t*.yaml',
      'working-directory': 'experiments',
      threads: '1',
    });
    for (const { args, options } of job.commands) {
      const { status, stderr } = spawnSync('bash', args, options);
      expect(status, stderr).toBe(0);
    }
    const found = job.outputs();
    expect(found).toMatchObject({ passed: 'true', 'exit-code': '0' });
    expect(found.data).toMatch(/^\d+$/);
    for (const { value } of Object.values(outputs)) {
      expect(Object.keys(found)).toContain(/outputs\.([\w-]+) /.exec(value)![1]);
    }
    expect(space.list(`good/${found.results}`)).toContain('tiny');
    expect(space.read('good', found.junit)).toContain('<testsuite');
    expect(JSON.parse(space.read('good', found.verdict))).toBeTruthy();
    expect(job.summary()).toContain('accuracy');
  });

  it('fails with the exit code of the check', () => {
    space.write('bad/tiny.yaml', check('{ min: 100 }'));
    const job = steps('bad', { configs: 'tiny.yaml' });
    const codes = job.commands.map(({ args, options }) => spawnSync('bash', args, options));
    expect(codes.map(({ status }) => status)).toEqual([0, 1]);
    expect(codes[1].stdout).toContain('::error file=tiny.yaml');
    expect(job.outputs()).toMatchObject({ passed: 'false', 'exit-code': '1' });
  });

  it('stops the program when the job is cancelled', async () => {
    space.write(
      'long/long.yaml',
      check('{ min: 0 }').replace('iterations: 20', 'iterations: 50000'),
    );
    const { args, options } = steps('long', { configs: 'long.yaml' }).commands[1];
    const shell = spawn('bash', args, options);
    let said = '';
    shell.stderr.on('data', (text: Buffer) => (said += text.toString()));
    const begun = space.file('long', 'bang-check', 'tiny', 'config.yaml');
    const watch = setInterval(() => {
      if (!existsSync(begun)) return;
      clearInterval(watch);
      shell.kill('SIGINT');
    }, 20);
    const code = await new Promise((resolve) => shell.on('close', resolve));
    expect(said).toContain('stopping after saving');
    expect(code).toBe(130);
  });
});

describe('the recipes of docs/ci.md', () => {
  const text = textOf('docs/ci.md');
  const blocks = (language: string): string[] =>
    [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(
      ([, one]) => one,
    );
  const commands = [...text.matchAll(/(?:exec )?node_modules\/\.bin\/bang check [^\n']*/g)].map(
    ([command]) => command,
  );

  it('run the same command on GitHub, GitLab and Jenkins, which works where the package is installed', () => {
    expect(commands).toHaveLength(3);
    expect(new Set(commands.map((one) => one.replace('exec ', ''))).size).toBe(1);
    space.write('recipe/checks/tiny.yaml', check('{ min: 0 }'));
    mkdirSync(space.file('recipe/node_modules/.bin'), { recursive: true });
    symlinkSync(executable(), space.file('recipe/node_modules/.bin/bang'));
    const { status, stderr } = spawnSync('bash', ['-c', commands[0]], {
      cwd: space.file('recipe'),
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const reports = [...text.matchAll(/junit(?:: | testResults: ')([\w/.]+xml)/g)];
    expect(reports).toHaveLength(2);
    for (const [, report] of reports) expect(existsSync(space.file('recipe', report))).toBe(true);
  });

  it('begin with commands that work in an empty folder', async () => {
    const [steps] = blocks('sh').filter((one) => one.includes('npm init -y'));
    const lines = steps.split('\n').filter((line) => line.startsWith('npx --no bang '));
    const [init, run] = lines.map((line) =>
      line.replace(/#.*/, '').trim().split(/ +/).slice('npx --no bang'.split(' ').length),
    );
    mkdirSync(space.file('start'));
    const place = { cwd: space.file('start') };
    await bangInsideOk(init, place);
    const { stdout } = await bangInsideOk(['validate', run[1]], place);
    expect(stdout).toContain(`${run[1]}: ok`);
    const { stdout: help } = await bangInsideOk(['check', '--help'], place);
    for (const option of run.filter((one) => one.startsWith('--'))) expect(help).toContain(option);
    const tarball = /bang-[\w.-]+\.tgz/.exec(steps)![0];
    const { name, version } = JSON.parse(textOf('package.json')) as Record<string, string>;
    expect(tarball).toBe(`${name}-${version}.tgz`);
  });

  it('are YAML, with inputs and outputs that the action has', () => {
    const action = parse(textOf('action.yml')) as Action;
    const documents = blocks('yaml').map((one) => parse(one) as Record<string, unknown>);
    const jobs = documents.filter((one) => 'jobs' in one) as unknown as {
      jobs: { check: { steps: Step[] } };
    }[];
    expect(jobs).toHaveLength(2);
    const steps = jobs.flatMap(({ jobs: { check } }) => check.steps);
    const ours = steps.find(({ uses }) => uses === 'OWNER/REPOSITORY@COMMIT')!;
    const { inputs, outputs } = action;
    expect(Object.keys(inputs)).toEqual(expect.arrayContaining(Object.keys(ours.with!)));
    const required = Object.keys(inputs).filter((name) => inputs[name].required);
    expect(Object.keys(ours.with!)).toEqual(expect.arrayContaining(required));
    const read = [...text.matchAll(/steps\.bang\.outputs\.([\w-]+)/g)].map(([, name]) => name);
    expect(read.length).toBeGreaterThan(0);
    expect(Object.keys(outputs)).toEqual(expect.arrayContaining(read));
    for (const name of Object.keys(inputs)) expect(text).toContain(`| \`${name}\``);
    for (const name of Object.keys(outputs)) expect(text).toContain(`\`${name}\``);
  });
});

describe('the Dockerfile', () => {
  const file = 'docs/deploy/Dockerfile';
  const instructions = textOf(file)
    .replace(/^#.*\n/gm, '')
    .replaceAll('\\\n', '')
    .trim()
    .split(/\n+/)
    .map((line) => /^([A-Z]+) +(.*)$/.exec(line)!.slice(1));
  const all = (name: string) => instructions.flatMap(([key, rest]) => (key === name ? [rest] : []));

  it('names stages, files and a tarball that exist', () => {
    const stages = all('FROM').flatMap((rest) => / AS (\w+)$/.exec(rest)?.[1] ?? []);
    for (const copy of all('COPY')) {
      const stage = /--from=(\w+)/.exec(copy)?.[1];
      if (stage !== undefined) expect(stages).toContain(stage);
    }
    const manifest = JSON.parse(textOf('package.json')) as {
      name: string;
      engines: { node: string };
    };
    expect(textOf(file)).toContain(` ${manifest.name}-*.tgz `);
    const versions = all('FROM').map((rest) => Number(/^node:(\d+)-/.exec(rest)![1]));
    const needed = Number(/\d+/.exec(manifest.engines.node)![0]);
    for (const version of versions) expect(version).toBeGreaterThanOrEqual(needed);
    const programs = [...textOf(file).matchAll(/\/bang\/(bin\/[\w.]+)/g)].map(([, name]) => name);
    expect(programs.length).toBeGreaterThanOrEqual(2);
    for (const name of programs) expect(existsSync(path.join(packageRoot, name))).toBe(true);
  });

  it('ends as a user without rights, and passes signals on', () => {
    expect(all('USER')).toEqual(['node']);
    expect(instructions.findIndex(([key]) => key === 'USER')).toBeGreaterThan(
      instructions.findLastIndex(([key]) => key === 'RUN'),
    );
    expect(JSON.parse(all('ENTRYPOINT').join(''))).toEqual(['node', '/bang/bin/bang.js']);
    expect(all('FROM').at(-1)).toMatch(/^node:\d+-\w+-slim$/);
  });

  it('is sent nothing that Git ignores, and everything else', () => {
    const ignored = textOf('.dockerignore').trim().split('\n');
    const files = spawnSync('git', ['ls-files'], { cwd: packageRoot, encoding: 'utf8' });
    const tracked = files.stdout.split('\n');
    for (const one of ignored.filter((name) => name.endsWith('/'))) {
      expect(tracked.filter((name) => name.startsWith(one))).toEqual([]);
    }
    expect(ignored).toEqual(expect.arrayContaining(['node_modules/', 'dist/', 'build/', '.git/']));
  });

  const can = spawnSync('unshare', ['-m', 'sh', '-c', 'mount -o remount,bind,ro /']).status === 0;
  it.runIf(can)('can be run with a root that is read-only, by a user without a home', () => {
    mkdirSync(space.file('work'));
    chmodSync(space.file('work'), 0o777);
    chmodSync(space.folder, 0o755);
    cpSync(path.join(cacheFolder(), 'data'), space.file('cache', 'data'), { recursive: true });
    const command = [
      `mount -t tmpfs none "$WORK" && chmod 777 "$WORK" && mount -o remount,bind,ro / && cd "$WORK" &&`,
      `exec setpriv --reuid=54321 --regid=54321 --clear-groups "$NODE" "$BANG" run lenet-r0`,
      '--set training.iterations=20 --set evaluation.images=10 --out out',
    ].join(' ');
    const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', command], {
      encoding: 'utf8',
      env: {
        PATH: process.env.PATH,
        HOME: '/nonexistent',
        BANG_CACHE: space.file('cache'),
        WORK: space.file('work'),
        NODE: process.execPath,
        BANG: executable(),
      },
    });
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('Files: out');
  });
});

describe('the development container', () => {
  const container = JSON.parse(
    textOf('.devcontainer/devcontainer.json').replace(/^ *\/\/.*$/gm, ''),
  ) as { image: string; onCreateCommand: string; postCreateCommand: string };

  it('has what the gate needs', () => {
    const needed = [...textOf('.ci/run').matchAll(/missing\+=\(([^)]+)\)/g)].flatMap(([, names]) =>
      names.split(' '),
    );
    expect(needed.length).toBeGreaterThanOrEqual(5);
    expect(container.onCreateCommand.split(' ')).toEqual(expect.arrayContaining(needed));
    expect(container.postCreateCommand).toBe('npm ci');
    expect(container.image).toMatch(/:22-/);
  });
});
