import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { stringify } from 'yaml';
import { UserError } from '../base/errors.js';
import { readJson, writeFileAtomic } from '../base/files.js';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { differenceOf, differencesIn, type Identity, OTHERWISE, readIdentity } from './identity.js';
import { type Parts, partsIn } from './parts.js';
import { makeWritable, remove, removeLeftovers } from '../base/folders.js';
import { LOCK_FILE, Occupied, removeIfDead, takeLock, type Lock } from './lock.js';

/** The files of a run's result folder. */
export const FILES = {
  identity: 'config.yaml',
  training: 'training.csv',
  checkpoint: 'checkpoint.safetensors',
  /** A folder with the network at several iterations. */
  snapshots: 'snapshots',
  weights: 'weights.safetensors',
  perImage: 'per-image.csv',
  table: 'table.csv',
  robustness: 'robustness.csv',
  masking: 'masking.csv',
  budgets: 'budgets.csv',
  noise: 'noise.csv',
  /** A folder with adversarial images, if they are asked for. */
  images: 'images',
  /** A few adversarial examples, to look at without the weights. */
  examples: 'examples.json',
  result: 'result.json',
  /** A folder with finished attacks of an unfinished evaluation. */
  parts: 'stages',
} as const;

/** The file in a study's folder that identifies the study. */
export const STUDY_FILE = 'study.yaml';

/** The file in a sweep's folder that says which sweep it is. */
export const SWEEP_FILE = 'sweep.yaml';

/** The folder in a sweep's folder that has a result folder for each cell. */
export const CELLS = 'cells';

/** Surfaces for figures, written by sweeps and noise studies: values over two others. */
export const SURFACES_FILE = 'surfaces.csv';

/** Whether a folder holds a run, a study, a transfer or a sweep, finished or not, whose files must not change. */
export function isResultFolder(folder: string): boolean {
  const names = [FILES.identity, FILES.result, STUDY_FILE, SWEEP_FILE];
  return names.some((name) => existsSync(path.join(folder, name)));
}

/** The names that all kinds of result folders have. */
type FileNames = Record<'identity' | 'result' | 'parts', string>;

/**
 * A folder that holds only one experiment, so that its numbers cannot be mistaken for another's. Each
 * file in it is complete or absent.
 */
export interface ResultFolder<Name extends string = keyof typeof FILES> {
  path: string;
  /**
   * Does `work` while this process holds the folder's lock. Makes the folder ready to be written to first, and
   * empties it if that was asked for. Nothing on the disk changes before: what else is wrong with a command costs
   * no results.
   *
   * @throws UserError if it cannot be written, another process works there, or has begun another experiment there;
   *   what `work` throws
   */
  hold<T>(work: () => T | Promise<T>): Promise<T>;
  /** The path of a file, or, where that is a folder, of one in it. */
  file(name: Name, inner?: string): string;
  has(name: Name): boolean;
  /** @throws UserError if another process has taken the folder */
  write(name: Name, content: string | Uint8Array, inner?: string): void;
  /** @throws UserError if another process has taken the folder */
  remove(name: Name): void;
  /** Whether something is there that only an unfinished experiment needs: a checkpoint, finished attacks. */
  keeps(): boolean;
  /**
   * Removes that.
   *
   * @throws UserError if another process has taken the folder
   */
  discard(): void;
  /** The content of `result.json`; undefined if it is absent or damaged. */
  result(): unknown;
  /** The kept parts of an unfinished experiment that were made with the same key. */
  parts(key: Identity): Parts;
}

export interface FolderOptions {
  /** Keys of the identity on which no number depends, such as `training.checkpointEvery`. */
  ignored?: readonly string[];
  /** Whether to empty the folder if it already holds an experiment. */
  force?: boolean;
  /** Files that the experiment is read from, which `force` must not remove. */
  inputs?: readonly string[];
  /** How long to wait for a process that holds the folder, in milliseconds. */
  patience?: number;
}

/**
 * The folder of an experiment, which need not exist yet.
 *
 * @throws UserError if it holds another experiment, or if `force` would remove one of the inputs
 */
export function openFolder<Files extends FileNames = typeof FILES>(
  folder: string,
  identity: Identity,
  { ignored = [], force = false, inputs = [], patience = 0 }: FolderOptions = {},
  files: Files = FILES as unknown as Files,
): ResultFolder<keyof Files & string> {
  const named: Readonly<Record<string, string>> = files;
  const names = Object.values(named);
  const file = (name: string, inner = ''): string => path.join(folder, named[name], inner);
  const kept = ['checkpoint', 'parts'].filter((name) => name in named).map((name) => file(name));
  const refuse = (): void => {
    refuseFolderOfOtherKind(folder, files.identity, force);
    if (force) refuseToLose(inputs, folder, names, identity);
    else refuseOther(folder, names, files.identity, identity, ignored);
  };
  refuse();
  // A finished experiment is only read, and would keep it for ever.
  removeIfDead(path.join(folder, LOCK_FILE));
  let lock: Lock | undefined;
  const check = (): void => {
    if (!lock) throw new Error(`${folder} is written without its lock`);
    lock.check();
  };
  return {
    path: folder,
    async hold(work) {
      makeWritable(folder);
      lock = await lockOf(folder, patience);
      try {
        // Another process may have been here since the folder was opened.
        refuse();
        // What the folder is of goes last, so that the rest is never without it.
        if (force) for (const name of names.toReversed()) remove(path.join(folder, name));
        removeLeftovers(folder, names);
        if (!existsSync(file('identity'))) writeFileAtomic(file('identity'), stringify(identity));
        return await work();
      } finally {
        lock.release();
        lock = undefined;
      }
    },
    file,
    has: (name) => existsSync(file(name)),
    write(name, content, inner) {
      check();
      writeFileAtomic(file(name, inner), content);
    },
    remove(name) {
      check();
      remove(file(name));
    },
    keeps: () => kept.some((one) => existsSync(one)),
    discard() {
      check();
      kept.forEach(remove);
    },
    result: () => readJson(file('result')),
    parts: (key) => partsIn(file('parts'), key, check),
  };
}

/**
 * Removes from a finished experiment's folder what a process has left that was killed as it finished. Where another
 * process is at work, or the folder is only read, it stays.
 */
export async function discardLeft(
  folder: Pick<ResultFolder, 'keeps' | 'discard' | 'hold'>,
): Promise<void> {
  if (!folder.keeps()) return;
  try {
    await folder.hold(() => {
      folder.discard();
    });
  } catch {
    // The result is there all the same.
  }
}

/** @throws Occupied if another process still holds the folder after `patience` milliseconds */
async function lockOf(folder: string, patience: number): Promise<Lock> {
  const end = performance.now() + patience;
  for (;;) {
    try {
      // Who loses it is told by `check` at the next write.
      return takeLock(path.join(folder, LOCK_FILE), 'run', () => undefined);
    } catch (error) {
      if (!(error instanceof Occupied) || performance.now() >= end) throw error;
      await setTimeout(50);
    }
  }
}

/** Another kind of result would be mixed with this one, and lose what they have in common to `force`. */
function refuseFolderOfOtherKind(folder: string, identity: string, force: boolean): void {
  const kinds = {
    'a run': FILES.identity,
    'a study': STUDY_FILE,
    'a sweep': SWEEP_FILE,
    'the cells of a sweep': path.basename(folder) === CELLS && path.join('..', SWEEP_FILE),
  };
  for (const [kind, name] of Object.entries(kinds)) {
    if (name === false || name === identity || !existsSync(path.join(folder, name))) continue;
    const stays = force ? ', which --force does not remove' : '';
    throw new UserError(`${folder} holds ${kind}${stays}: choose another folder with --out`);
  }
}

function refuseToLose(
  inputs: readonly string[],
  folder: string,
  names: readonly string[],
  identity: Identity,
): void {
  for (const name of names) {
    const file = path.join(folder, name);
    if (!existsSync(file)) continue;
    const place = realpathSync(file);
    const isIn = (input: string) => input === place || input.startsWith(place + path.sep);
    const lost = inputs.find((input) => existsSync(input) && isIn(realpathSync(input)));
    // The folder's record of this experiment is written again unchanged.
    const isRecord = (input: string) =>
      statSync(input).isFile() && readFileSync(input, 'utf8') === stringify(identity);
    if (lost === undefined || isRecord(lost)) continue;
    throw new UserError(
      `--force would remove ${lost}, from which the experiment is read: choose another folder with --out`,
    );
  }
}

function refuseOther(
  folder: string,
  names: readonly string[],
  name: string,
  identity: Identity,
  ignored: readonly string[],
): void {
  const file = path.join(folder, name);
  if (!existsSync(file)) {
    const stranger = names.find((one) => existsSync(path.join(folder, one)));
    if (stranger === undefined) return;
    throw new UserError(
      `${folder} holds ${stranger}, but no ${name} that says which experiment it belongs to: choose another folder with --out`,
    );
  }
  const found = readIdentity(file);
  const difference = differenceOf(found, identity, ignored);
  if (difference === undefined) return;
  const isEvaluation = differencesIn(found, identity, ignored).every(({ key }) =>
    key.startsWith('evaluation.'),
  );
  const evaluate = isEvaluation && existsSync(path.join(folder, FILES.weights));
  const how = evaluate ? `bang eval ${folder} evaluates its network otherwise; else ` : '';
  throw new UserError(`${folder} holds another experiment (${difference}): ${how}${OTHERWISE}`);
}
