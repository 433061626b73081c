import Table from 'cli-table3';
import type { CommandModule } from 'yargs';
import { cachedFiles, readCache, type CacheState } from '../data/cache.js';
import {
  FETCHED_NAMES,
  keptFiles,
  sources,
  type FetchedName,
  type Source,
} from '../data/sources.js';
import { ExperimentError } from '../base/errors.js';
import { interruptible, likeOneOf } from './options.js';

const name = {
  describe: 'the data set',
  choices: FETCHED_NAMES,
  coerce: likeOneOf(FETCHED_NAMES),
} as const;

const pullCommand: CommandModule<object, { name: FetchedName }> = {
  command: 'pull <name>',
  describe: 'fetch a data set into the cache, unless it is there and intact',
  builder: (yargs) =>
    yargs
      .positional('name', { ...name, demandOption: true })
      .example('$0 data pull mnist', 'then runs need no network')
      .example(
        'BANG_CACHE=/data/bang $0 data pull mnist',
        'with the cache somewhere else',
      ) as never,
  handler: (args) => pull(args.name),
};

const listCommand: CommandModule = {
  command: 'list',
  describe: 'what the cache holds',
  builder: (yargs) => yargs.example('$0 data list', ''),
  handler: list,
};

const verifyCommand: CommandModule<object, { name?: FetchedName }> = {
  command: 'verify [name]',
  describe: 'check every byte in the cache; exit code 1 if any is damaged',
  builder: (yargs) =>
    yargs
      .positional('name', name)
      .example('$0 data verify', 'all that is cached')
      .example('$0 data verify mnist', 'exit code 1 also if MNIST is not cached') as never,
  handler: (args) => verify(args.name),
};

export const dataActions = [pullCommand, listCommand, verifyCommand];

/** `bang data`: shows, checks and fills the cache. */
export const dataCommand: CommandModule = {
  builder: (yargs) =>
    yargs
      .command(dataActions as CommandModule[])
      .demandCommand(1, 'which one: pull, list or verify?')
      .example('$0 data pull mnist', 'fetch MNIST')
      .example('$0 data verify', 'check what is cached'),
  handler: () => undefined,
};

async function pull(dataName: FetchedName): Promise<void> {
  const source = sources[dataName];
  await interruptible((signal, progress) => cachedFiles(source, { progress, signal }), {
    force: false,
    resumes: false,
  });
  const { folder } = await readCache(source);
  process.stdout.write(`${dataName} is in ${folder}\n`);
}

async function list(): Promise<void> {
  const table = new Table({
    head: ['name', 'state', 'size', 'path'],
    style: { head: [], border: [] },
  });
  for (const dataName of FETCHED_NAMES) {
    const source = sources[dataName];
    const { state, folder } = await readCache(source);
    table.push([dataName, state === 'absent' ? 'not cached' : state, sizeOf(source), folder]);
  }
  process.stdout.write(`${table.toString()}\n`);
}

function sizeOf(source: Source): string {
  const bytes = keptFiles(source).reduce((sum, file) => sum + file.bytes, 0);
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A data set that was never fetched is an error only if it is named. */
async function verify(dataName: FetchedName | undefined): Promise<void> {
  const faults: string[] = [];
  for (const each of dataName === undefined ? FETCHED_NAMES : [dataName]) {
    const found = await readCache(sources[each]);
    process.stdout.write(`${each}: ${describe(found)}\n`);
    const fault = found.state === 'damaged' || (found.state === 'absent' && dataName === each);
    if (fault) faults.push(each);
  }
  if (faults.length > 0) {
    const commands = faults.map((each) => `bang data pull ${each}`).join(' && ');
    throw new ExperimentError(`${faults.join(', ')} must be fetched: ${commands}`);
  }
}

function describe(found: CacheState): string {
  switch (found.state) {
    case 'cached':
      return `intact in ${found.folder}`;
    case 'absent':
      return `not cached (${found.folder})`;
    case 'damaged':
      return `damaged in ${found.folder}: ${found.problem}`;
  }
}
