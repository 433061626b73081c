import Table from 'cli-table3';
import type { CommandModule } from 'yargs';
import { cachedFiles, readCache, type CacheState } from '../data/cache.js';
import {
  DATA_NAMES,
  type DataName,
  FETCHED_NAMES,
  type FetchedName,
  keptFiles,
  type Source,
  sources,
} from '../data/sources.js';
import { ExperimentError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.js';
import { printable, shapeText } from '../base/text.js';
import { loadData } from '../data/load.js';
import { classCounts, inLetters, samplePicture } from '../data/samples.js';
import { classNames } from '../data/shapes.js';
import { flag, interruptible, likeOneOf, refuseExisting, shared, textOption } from './options.js';
import { print } from './print.js';

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

interface ShowArguments {
  name?: DataName;
  dataDir?: string;
  out?: string;
  letters: boolean;
  force: boolean;
}

const showCommand: CommandModule<object, ShowArguments> = {
  command: 'show [name]',
  describe: 'count the images of each class, and draw some',
  builder: (yargs) =>
    yargs
      .positional('name', {
        describe: 'the data set (default: idx with --data-dir, else mnist)',
        choices: DATA_NAMES,
        coerce: likeOneOf(DATA_NAMES),
      })
      .option('data-dir', shared['data-dir'])
      .options(textOption('out', 'write a picture of test images, a row for each class: a PNG'))
      .option('letters', flag('draw the first test image in letters: is it upright?'))
      .option('force', flag('overwrite the picture'))
      .example('$0 data show --data-dir emnist --letters', 'are the images transposed?')
      .example('$0 data show cifar10 --out cifar10.png', 'ten images of each class')
      .epilog(
        'A data.yaml in the folder may say what its files do not: transpose: true exchanges rows and columns, as EMNIST needs it; firstLabel: 1; classes: a number, or a list of names, which classes.txt may have, too, one on a line.',
      ) as never,
  handler: show,
};

export const dataActions = [pullCommand, listCommand, verifyCommand, showCommand];

/** `bang data`: shows data sets; shows, checks and fills the cache. */
export const dataCommand: CommandModule = {
  builder: (yargs) =>
    yargs
      .command(dataActions as CommandModule[])
      .demandCommand(1, 'which one: pull, list, verify or show?')
      .example('$0 data pull mnist', 'fetch MNIST')
      .example('$0 data verify', 'check what is cached')
      .example('$0 data show --data-dir emnist', 'what a folder of yours holds'),
  handler: () => undefined,
};

async function pull(dataName: FetchedName): Promise<void> {
  const source = sources[dataName];
  await interruptible((signal, progress) => cachedFiles(source, { progress, signal }), {
    resumes: false,
  });
  const { folder } = await readCache(source);
  process.stdout.write(`${dataName} is in ${folder}\n`);
}

/** Pictures have so many images of each class. */
const PER_CLASS = 10;

async function show({ name, dataDir, out, letters, force }: ShowArguments): Promise<void> {
  const dataName = name ?? (dataDir === undefined ? 'mnist' : 'idx');
  if (out !== undefined) refuseExisting(out, force);
  const { train, test } = await interruptible(
    (signal, progress) => loadData(dataName, { dataDir, progress, signal }),
    { resumes: false },
  );
  const names = classNames(dataName, dataDir, test.names);
  const size = shapeText([test.height, test.width, test.channels]);
  print(
    `${dataDir ?? dataName}: images of ${size}, ${test.classes} classes, ${train.count} for training and ${test.count} for tests`,
  );
  const table = new Table({
    head: ['label', ...(names ? ['name'] : []), 'training', 'test'],
    colAligns: ['right', ...(names ? (['left'] as const) : []), 'right', 'right'],
    style: { head: [], border: [] },
  });
  const counts = [classCounts(train), classCounts(test)];
  for (let label = 0; label < test.classes; label++) {
    const title = names ? [printable(names[label] ?? '')] : [];
    table.push([label, ...title, counts[0][label], counts[1][label]]);
  }
  print(table.toString());
  if (letters) {
    const label = test.labels[0];
    print(`The first test image, of class ${printable(names?.[label] ?? String(label))}:`);
    for (const line of inLetters(test, 0)) print(line);
  }
  if (out === undefined) return;
  writeFileAtomic(out, samplePicture(test, PER_CLASS));
  print(`wrote ${out}: the first test images of each class, a row for each`);
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
