// Targets: command lines, in this process and, fewer of them, in processes of their own.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/base/files.js';
import { allUsages } from '#bang/cli/commands.js';
import { KINDS, textOf } from './configs.mjs';
import { contentsOf, demandGoodEnd, demandUnchanged, Fault, runInside } from './oracle.mjs';
import { below, chance, mutateBytes, mutateText, oneOf } from './mutate.mjs';
import { makeSpace } from './space.mjs';

/** These wait, listen, or fetch and build: what they are told wrong is tried, but not what is right. */
const NEVER = ['view', 'worker', 'setup', 'doctor', 'data pull', 'completion'];
/** These compute for seconds where all is right. */
const SLOW = [
  'run',
  'eval',
  'noise',
  'transfer',
  'sweep',
  'check',
  'sweep retry',
  'report',
  'figure',
];

// prettier-ignore
const WORDS = [
  'small.yaml', 'regular.yaml', 'seeds.yaml', 'sweep.yaml', 'halving.yaml', 'noise.yaml', 'check.yaml',
  'runs', 'runs/small', 'runs/regular', 'runs/seeds', 'sweep', 'study', 'transfer', 'data', '.', '..', '/',
  'runs/small/weights.safetensors', 'runs/small/result.json', 'runs/small/per-image.csv', 'new', 'new/x.json',
  'small', 'smal.yaml', 'training', 'linf', 'surfaces', 'mnist', 'cifar10', 'sweep', 'noise', 'onnx', 'lenet',
  '0', '1', '2', '-1', '1.5', '1e3', '99999999999', 'x', '', ' ', '-', '--', '---', '=', 'a=b', 'é', '\u0000',
  '1,2', '1,2,3', 'fgs,hc1', 'pgd', 'svg', 'png', 'paper', 'auto', 'cpu', 'native', 'seed=2', 'training.bang=null',
  'redis://127.0.0.1:1', 'redis://x y', 'http://x', '__proto__', 'constructor', '%s', '$(x)', '/dev/null', '/proc/x',
  'loop', 'loop/x', 'small.yaml/x', 'x'.repeat(300),
];

/** Each command with the options that its help names. */
async function grammar() {
  const usages = await allUsages();
  const commands = [];
  for (const usage of usages.filter((one) => !one.includes('$0'))) {
    const words = usage.split(' ').filter((word) => /^[a-z]/.test(word));
    if (words[0] === 'completion') continue;
    const { stdout } = await runInside([...words, '--help']);
    const options = [...new Set(stdout.match(/(?<=\s)--[a-z-]+/g))];
    commands.push({
      name: words.join(' '),
      words,
      options,
      arguments: usage.match(/[<[]/g)?.length ?? 0,
    });
  }
  return commands;
}

function anyCommandLine(random, commands) {
  const quick = commands.filter(({ name }) => ![...NEVER, ...SLOW].includes(name));
  const {
    name,
    words,
    options,
    arguments: wanted,
  } = oneOf(random, chance(random, 0.75) ? quick : commands);
  const args = Array.from(
    { length: Math.max(0, wanted + oneOf(random, [0, 0, 0, 0, -1, 1])) },
    () => word(random),
  );
  for (let n = below(random, 4); n > 0; n--) {
    const option =
      chance(random, 0.9) && options.length > 0 ? oneOf(random, options) : `--${word(random)}`;
    args.splice(
      below(random, args.length + 1),
      0,
      ...oneOf(random, [[option], [option, word(random)], [`${option}=${word(random)}`]]),
    );
  }
  // What would be done for long is given an option that there is not.
  if (NEVER.includes(name)) args.push('--no-such-option');
  const line = [...(chance(random, 0.97) ? words : [mutateText(random, words[0])]), ...args];
  return line.map((one) => one.replaceAll('\u0000', ' '));
}

function word(random) {
  const found = oneOf(random, WORDS);
  return chance(random, 0.9) ? found : mutateText(random, found);
}

/** A mutation may make a number of iterations, threads or cells that takes hours: these stay as they are. */
const isLong = (args) =>
  args.some((arg) =>
    /iterations|queries|steps|restarts|cells=|snapshots|threads|jobs|port/.test(arg),
  );

function commandLine(random, commands) {
  const args = anyCommandLine(random, commands);
  return isLong(args) ? commandLine(random, commands) : args;
}

/** What a command line itself names as what is to be written or started over. */
function isNamed(args) {
  const outputs = args.flatMap((arg, i) => {
    const found = /^--(out|json|junit|report)(?:=(.*))?$/s.exec(arg);
    return found ? [path.resolve(found[2] ?? args[i + 1] ?? '.')] : [];
  });
  const isDefault =
    args.includes('table') || args.includes('--force') || args.includes('--update-baseline');
  return (file) =>
    isDefault || outputs.some((place) => file === place || file.startsWith(place + path.sep));
}

async function prepare(folder) {
  process.env.BANG_CACHE = path.join(folder, 'cache');
  process.env.npm_config_offline = 'true';
  process.env.npm_config_cache = path.join(folder, 'npm');
  const space = path.join(folder, 'space');
  mkdirSync(space);
  await makeSpace(space);
  const sound = path.join(folder, 'sound');
  cpSync(space, sound, { recursive: true });
  const content = contentsOf(space);
  const addLoop = () => symlinkSync('loop', path.join(space, 'loop'));
  const restore = () => {
    process.chdir(folder);
    for (const name of readdirSync(space))
      rmSync(path.join(space, name), { recursive: true, force: true });
    cpSync(sound, space, { recursive: true });
    addLoop();
    process.chdir(space);
  };
  addLoop();
  return { space, content, restore };
}

async function inside(folder) {
  const { space, content, restore } = await prepare(folder);
  const commands = await grammar();
  return async (random) => {
    const args = commandLine(random, commands);
    const { taken } = await runInside(args);
    if (!demandUnchanged(content, space, args, isNamed(args))) restore();
    return taken;
  };
}

/** Files of any target, handed to the program in a process of its own, and command lines. */
async function spawned(folder) {
  const { space, content, restore } = await prepare(folder);
  const commands = await grammar();
  const weights = content.get(path.join(space, 'runs/small/weights.safetensors'));
  const result = content.get(path.join(space, 'runs/small/result.json'));
  const withFile = (random) => {
    const kind = oneOf(random, ['experiment', 'network', 'sweep', 'noise', 'weights', 'result']);
    if (kind === 'weights') {
      writeFileSync(
        'x.bin',
        mutateBytes(random, weights, { within: chance(random, 0.7) ? 2000 : weights.length }),
      );
      return oneOf(random, [
        ['eval', 'x.bin', '--data-dir', 'data', '--out', 'new'],
        ['export', 'x.bin', '--to', 'onnx', '--out', 'new'],
      ]);
    }
    if (kind === 'result') {
      writeFileSync('x.json', mutateText(random, result.toString('utf8')));
      return ['diff', 'x.json', 'runs/regular'];
    }
    writeFileSync('x.yaml', textOf(random, KINDS[kind]));
    return oneOf(random, [
      ['validate', 'x.yaml'],
      ['config', 'x.yaml'],
      ['sweep', 'x.yaml', '--dry-run', '--data-dir', 'data'],
    ]);
  };
  return async (random) => {
    const args = chance(random, 0.4) ? commandLine(random, commands) : withFile(random);
    const ended = await runOutside(args, space);
    demandGoodEnd(ended, args);
    if (!demandUnchanged(content, space, args, isNamed(args))) restore();
    return ended.code === 0;
  };
}

const MOST_MS = 60_000;

/** Runs the program in a process of its own, as a shell would, or whatever `command` makes of the arguments. */
export function runOutside(args, cwd, { command } = {}) {
  const bang = [process.execPath, path.join(packageRoot, 'bin', 'bang.js')];
  const [program, ...first] = command ?? bang;
  const child = spawn(program, [...first, ...args], {
    ...{ cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, BANG_THREADS: '1' } },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), MOST_MS);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === null) reject(new Fault(`ended by ${signal}: ${stderr.slice(-1000)}`, args));
      else resolve({ code, stdout, stderr });
    });
  });
}

export const targets = { arguments: inside, process: spawned };
