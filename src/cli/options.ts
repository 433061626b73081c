import { existsSync, statSync } from 'node:fs';
import type { Options } from 'yargs';
import { ATTACK_CHOICES, ATTACK_NAMES, CHANNELS, PROTOCOLS, SEARCHES } from '../attacks/attack.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { NETWORKS } from '../model/networks.js';
import { ENGINE_CHOICES, type EngineChoice } from '../engine/engine.js';
import { Interrupted, UserError } from '../base/errors.js';
import { isFile, isFolder, readRegularFile } from '../base/files.js';
import type { Progress } from '../base/progress.js';
import { inWords, nearest, quoted } from '../base/text.js';
import { isOneOf } from '../config/problems.js';
import { IMAGE_FORMATS } from '../store/savedImages.js';
import { consoleProgress } from './consoleProgress.js';

/** An option with a text. */
export function textOption<Name extends string>(name: Name, describe: string) {
  const option = { type: 'string', requiresArg: true, describe } as const;
  return { [name]: option } as Record<Name, typeof option>;
}

/** An option without a value. */
export function flag(describe: string) {
  return { type: 'boolean', default: false, describe } as const;
}

/** For `coerce`: the one of `names` that differs only in case or in `_` for `-`; else the text as it is. */
export function likeOneOf(names: readonly string[]) {
  return <T>(value: T): T | string =>
    typeof value === 'string' ? (namedIn(names, value) ?? value) : value;
}

function namedIn(names: readonly string[], value: string): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replaceAll('_', '-');
  return names.find((name) => plain(name) === plain(value));
}

/** For `coerce`: names with commas between them. */
export function namesIn<Name extends string>(option: string, names: readonly Name[]) {
  return (given: string | string[]): Name[] => {
    const words = [given].flat().flatMap((text) => text.split(','));
    return words.map((word) => {
      const name = namedIn(names, word.trim()) ?? word.trim();
      if (isOneOf(name, names)) return name;
      const near = nearest(name, names);
      const hint = near === undefined ? '' : `, did you mean ${near}?`;
      throw new UserError(`--${option}: expected ${inWords(names)}, found ${quoted(name)}${hint}`);
    });
  };
}

/** @throws UserError if there is a file, unless `--force` says to overwrite it */
export function refuseExisting(file: string, force: boolean): void {
  if (force || !existsSync(file)) return;
  throw new UserError(`${file} exists already; --force overwrites it`);
}

/** In bytes: no file that is replaced is larger, and no text may be much larger. */
const LARGEST_REPLACED = 2 ** 28;

/**
 * @param what a file that the command writes, for the message
 * @param isOne whether a text is one, which may be replaced
 * @throws UserError if another file would be lost
 */
export function refuseToReplace(
  option: string,
  file: string,
  what: string,
  isOne: (text: string) => boolean,
): void {
  if (isFolder(file)) throw new UserError(`${option} ${file} is a folder: name a file`);
  // Devices and pipes, which stay, have no size either.
  const size = isFile(file) ? statSync(file).size : 0;
  if (size === 0) return;
  if (size <= LARGEST_REPLACED && isOne(readRegularFile(file).toString('utf8'))) return;
  throw new UserError(`${option} ${file} would overwrite a file that is not ${what}: name another`);
}

/** Options that several commands share. */
export const shared = {
  threads: {
    // No type, so that a wrong value arrives as it was typed: `threadCount` checks it.
    describe: 'computing threads (default: $BANG_THREADS, else all cores, or the CPU quota)',
    requiresArg: true,
  },
  ...textOption('data-dir', "a folder with the data set's original files, instead of the cache"),
  force: flag('start over in a folder that already holds results'),
} as const satisfies Record<string, Options>;

/** Options of commands that compute the cells of a sweep in processes of their own. */
export const processOptions = {
  jobs: {
    describe: 'processes at once, a cell in each (default: one for each thread)',
    requiresArg: true,
  },
  threads: {
    describe:
      'computing threads of all processes together (default: $BANG_THREADS, else all cores, or the CPU quota)',
    requiresArg: true,
  },
  'data-dir': shared['data-dir'],
} as const satisfies Record<string, Options>;

/** Ctrl-C, a batch system's or container's end, and a terminal that is closed. */
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs work that shows its progress and that signals stop: the first signal lets it save
 * its state, the second ends the process at once.
 *
 * @param options.resumes whether the same command continues from the saved state
 * @throws Interrupted that says how to continue
 */
export async function interruptible<T>(
  work: (signal: AbortSignal, progress: Progress) => Promise<T>,
  { force = false, resumes = true }: { force?: boolean; resumes?: boolean } = {},
): Promise<T> {
  const controller = new AbortController();
  const progress = consoleProgress();
  const stop = (): void => {
    progress.close();
    if (controller.signal.aborted) process.exit(130);
    const how = resumes ? 'stopping after saving' : 'stopping';
    process.stderr.write(`${how} (once more to stop at once)\n`);
    controller.abort();
  };
  for (const name of STOPPING) process.on(name, stop);
  try {
    return await work(controller.signal, progress);
  } catch (error) {
    if (!(error instanceof Interrupted) || !resumes) throw error;
    throw new Interrupted(
      `${error.message}; the same command continues from there${force ? ' without --force' : ''}`,
    );
  } finally {
    for (const name of STOPPING) process.off(name, stop);
    progress.close();
  }
}

/** What a user says about weights of another program. */
export const readingOptions = {
  model: {
    type: 'string',
    requiresArg: true,
    coerce: likeOneOf(Object.keys(NETWORKS)),
    describe: `${Object.keys(NETWORKS).join(', ')}, or a YAML file that describes the network (default: the one that the file describes or fits)`,
  },
  data: {
    choices: DATA_NAMES,
    coerce: likeOneOf(DATA_NAMES),
    requiresArg: true,
    describe: 'the images (default: those that the network is for)',
  },
  scale: {
    type: 'string',
    requiresArg: true,
    coerce: scaleIn,
    describe: 'a factor on pixels, which are 0 to 255, such as 1/255',
  },
  mean: {
    type: 'string',
    requiresArg: true,
    coerce: (value: string) => numberList('mean', value),
    describe: 'by channel, subtracted from scaled pixels, such as 0.49,0.48,0.45',
  },
  std: {
    type: 'string',
    requiresArg: true,
    coerce: (value: string) => numberList('std', value),
    describe: 'by channel, what the result is divided by, such as 0.25,0.24,0.26',
  },
} as const satisfies Record<string, Options>;

export interface ReadingArguments {
  model?: string;
  data?: DataName;
  scale?: number;
  mean?: number[];
  std?: number[];
}

/** What is said of the weights, without the command's other options. */
export function readingIn({ model, data, scale, mean, std }: ReadingArguments): ReadingArguments {
  return { model, data, scale, mean, std };
}

/** For `coerce`: a number such as 0.5 or 1/255. */
function scaleIn(value: string): number {
  const list = numberList('scale', value);
  if (list.length === 1 && list[0] > 0) return list[0];
  throw new UserError('--scale: expected a number above 0, such as 1/255');
}

/** For `coerce`: numbers with commas between them. */
function numberList(name: string, value: string): number[] {
  return value.split(',').map((text) => {
    const [above, below = '1', ...rest] = text.split('/').map((part) => part.trim());
    const number = Number(above) / Number(below);
    const isWrong = above === '' || below === '' || rest.length > 0 || !Number.isFinite(number);
    if (isWrong || (name === 'std' && number === 0)) {
      throw new UserError(
        `--${name}: expected numbers${name === 'std' ? ' other than 0' : ''} with commas between them, found ${quoted(text)}`,
      );
    }
    return number;
  });
}

export const engineOption = {
  choices: ENGINE_CHOICES,
  coerce: likeOneOf(ENGINE_CHOICES),
  describe: 'the engine; auto: the best available (default: as configured, else auto)',
} as const satisfies Options;

/** The option as a `--set`. */
export function engineSetting(engine: EngineChoice | undefined): string[] {
  return engine === undefined ? [] : [`engine=${engine}`];
}

/** The attacks, their protocol, and its two parts. */
export const protocolOptions = {
  attacks: {
    type: 'string',
    requiresArg: true,
    coerce: attackList,
    describe: `auto, the accuracy that the strongest attacks leave within budgets; or which attacks, as fgs,apgd: ${ATTACK_NAMES.join(', ')} (default: fgs,fgs-unmasked,hc1)`,
  },
  protocol: {
    choices: PROTOCOLS,
    coerce: likeOneOf(PROTOCOLS),
    describe: 'paper: attacks as for the published rows; corrected: scan, channels kept',
  },
  search: {
    choices: SEARCHES,
    coerce: likeOneOf(SEARCHES),
    describe: "the line search (default: the protocol's)",
  },
  channels: {
    choices: CHANNELS,
    coerce: likeOneOf(CHANNELS),
    describe:
      "colour channels of the attack direction (default: the protocol's; kept for networks of your own)",
  },
} as const satisfies Record<string, Options>;

export const saveImagesOption = {
  choices: IMAGE_FORMATS,
  coerce: likeOneOf(IMAGE_FORMATS),
  describe:
    'also write the adversarial images into images/ of the result folder: NumPy arrays, IDX files, or PNG pictures',
} as const satisfies Options;

export type ProtocolArguments = {
  [Key in 'protocol' | 'search' | 'channels']?: (typeof protocolOptions)[Key]['choices'][number];
} & { attacks?: string };

/** The options as `--set` has them. */
export function protocolSettings({ attacks, ...chosen }: ProtocolArguments): string[] {
  const settings = (['protocol', 'search', 'channels'] as const).flatMap((key) =>
    chosen[key] === undefined ? [] : [`evaluation.${key}=${chosen[key]}`],
  );
  return attacks === undefined ? settings : [`evaluation.attacks=[${attacks}]`, ...settings];
}

/** For `coerce`: names of attacks, none of them twice. */
function attackList(list: string): string {
  const names = namesIn('attacks', ATTACK_CHOICES)(list);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UserError(`--attacks: ${twice} is in the list twice`);
  return names.join(',');
}

/** `--set key=value`, any number of times, for every command that reads a configuration. */
export const setOption = setOptionSuchAs('training.bang.beta=1.2');

/** @param example a key and value that the command takes */
export function setOptionSuchAs(example: string) {
  return {
    type: 'string',
    requiresArg: true,
    describe: `change a key, such as ${example}; null removes it; may be repeated`,
    // Not yargs' array type, which would also take the file names that follow.
    coerce: (value: string | string[]) => [value].flat(),
    default: [] as string[],
  } as const;
}

/** Options for computing the examples of a page. */
export interface GalleryArguments {
  examples: string;
  engine?: EngineChoice;
  threads?: number;
  dataDir?: string;
}

export const galleryOptions = {
  examples: {
    // A string, so that a wrong value is quoted as it was typed.
    ...textOption('examples', 'images of each class in the gallery; 0: no gallery').examples,
    default: '2',
  },
  engine: engineOption,
  threads: shared.threads,
  'data-dir': shared['data-dir'],
} as const satisfies Record<string, Options>;

export const pageResults = {
  type: 'string',
  array: true,
  demandOption: true,
  describe: 'folders of runs, sweeps and studies, or folders that contain them',
} as const;

const MOST_EXAMPLES = 100;

/** @throws UserError if it is not a number of images */
export function perClassIn(examples: string): number {
  const count = /^\d{1,3}$/.test(examples) ? Number(examples) : NaN;
  if (count <= MOST_EXAMPLES) return count;
  throw new UserError(
    `--examples: expected a whole number from 0 to ${MOST_EXAMPLES}, found ${examples}`,
  );
}

/** The argument of commands on a sweep. */
export interface InFolder {
  folder: string;
}

export const folderArgument = {
  type: 'string',
  demandOption: true,
  describe: 'the folder of a sweep',
} as const;
