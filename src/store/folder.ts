import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify, YAMLParseError } from 'yaml';
import { codeOf, UserError } from '../base/errors.js';
import { isAlive, reason, writeFileAtomic } from '../base/files.js';
import { isMapping } from '../config/problems.js';
import path from 'node:path';

/** The files of a run's result folder. */
export const FILES = {
  identity: 'config.yaml',
  training: 'training.csv',
  checkpoint: 'checkpoint.safetensors',
  /** A folder: the network at several iterations. */
  snapshots: 'snapshots',
  weights: 'weights.safetensors',
  perImage: 'per-image.csv',
  table: 'table.csv',
  robustness: 'robustness.csv',
  masking: 'masking.csv',
  result: 'result.json',
  /** Attacks that are finished while the evaluation is not. */
  stages: 'stages',
} as const;

/** What says in a study's folder what it is of. */
export const STUDY_FILE = 'study.yaml';

/** What sweeps and noise studies leave to be drawn: values over two others. */
export const SURFACES_FILE = 'surfaces.csv';

/** The names that every kind of result folder has, and those of its own. */
type FileNames = Record<'identity' | 'result' | 'stages', string>;

/** What an experiment is: plain data that says all its figures depend on. */
export type Identity = Record<string, unknown>;

/**
 * A folder that holds one experiment and nothing else, so that no figure of one is ever taken for
 * another's. Each file in it is whole or absent.
 */
export interface ResultFolder<Name extends string = keyof typeof FILES> {
  path: string;
  /**
   * Makes the folder ready to be written to, and empties it first if that was asked for. Nothing on
   * the disk changes before: what else is wrong with a command costs no results.
   *
   * @throws UserError if it cannot be written
   */
  begin(): void;
  /** The path of a file, or, where that is a folder, of one in it. */
  file(name: Name, inner?: string): string;
  has(name: Name): boolean;
  write(name: Name, content: string | Uint8Array, inner?: string): void;
  remove(name: Name): void;
  /** What `result.json` holds; undefined if there is none or it is damaged. */
  result(): unknown;
  /** What is kept of an experiment that is not finished, if it was made with the same key. */
  stages(key: Identity): Store;
}

/** Parts of a result by name, as plain data. */
export interface Store {
  read(name: string): unknown;
  write(name: string, value: unknown): void;
}

export interface FolderOptions {
  /** Keys of the identity, as `training.checkpointEvery`, on which no figure depends. */
  ignored?: readonly string[];
  /** Whether to empty a folder that holds something of an experiment. */
  force?: boolean;
  /** Files that the experiment is made of: they shall not be lost in emptying the folder. */
  inputs?: readonly string[];
}

/**
 * The folder of an experiment, there or yet to be made.
 *
 * @throws UserError if it holds another experiment
 */
export function openFolder<Files extends FileNames = typeof FILES>(
  folder: string,
  identity: Identity,
  { ignored = [], force = false, inputs = [] }: FolderOptions = {},
  files: Files = FILES as unknown as Files,
): ResultFolder<keyof Files & string> {
  const names: string[] = Object.values(files);
  const file = (name: keyof Files & string, inner = ''): string =>
    path.join(folder, (files as Record<string, string>)[name], inner);
  if (force) refuseToLose(inputs, folder, names, identity);
  else refuseOther(folder, names, files.identity, identity, ignored);
  return {
    path: folder,
    begin() {
      makeWritable(folder);
      // What the folder is of goes last, so that the rest is never without it.
      if (force) for (const name of names.toReversed()) remove(path.join(folder, name));
      removeLeftovers(folder, names);
      if (!existsSync(file('identity'))) writeFileAtomic(file('identity'), stringify(identity));
    },
    file,
    has: (name) => existsSync(file(name)),
    write(name, content, inner) {
      writeFileAtomic(file(name, inner), content);
    },
    remove(name) {
      remove(file(name));
    },
    result: () => readJson(file('result')),
    stages: (key) => storeIn(file('stages'), key),
  };
}

/** @throws UserError if a file or folder is there and stays */
export function remove(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch (error) {
    throw new UserError(`cannot remove ${file}: ${reason(error)}`);
  }
}

/** @throws UserError if a folder cannot be made or written to */
export function makeWritable(folder: string): void {
  try {
    makeFolder(folder);
    accessSync(folder, constants.W_OK);
  } catch (error) {
    const why = codeOf(error) === 'EEXIST' ? 'a file has that name' : reason(error);
    throw new UserError(`cannot write to the folder ${folder}: ${why}`);
  }
}

/** Not Node's own recursion, which never ends in a folder such as /proc that takes no other. */
function makeFolder(folder: string): void {
  const make = (): void => {
    try {
      mkdirSync(folder);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || !statSync(folder).isDirectory()) throw error;
    }
  };
  try {
    make();
  } catch (error) {
    const parent = path.dirname(folder);
    if (codeOf(error) !== 'ENOENT' || parent === folder) throw error;
    makeFolder(parent);
    make();
  }
}

/** Parts of files of these names, or in folders of these names, that a process wrote when it was killed. */
export function removeLeftovers(folder: string, names: readonly string[]): void {
  const isOurs = (name: string): boolean => names.includes(name.split(path.sep)[0]);
  const folders = names.filter((name) =>
    statSync(path.join(folder, name), { throwIfNoEntry: false })?.isDirectory(),
  );
  const inside = folders.flatMap((name) =>
    readdirSync(path.join(folder, name)).map((entry) => path.join(name, entry)),
  );
  for (const entry of [...readdirSync(folder), ...inside]) {
    const leftover = /^(.+)\.(\d+)\.tmp$/.exec(entry);
    if (leftover && isOurs(leftover[1]) && !isAlive(Number(leftover[2]))) {
      remove(path.join(folder, entry));
    }
  }
}

/** What a JSON file holds; undefined if there is none or it is damaged. */
export function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
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
    const lost = inputs.find((input) => isIn(realpathSync(input)));
    // The folder's own record of the experiment is written again as it is.
    if (lost === undefined || readFileSync(lost, 'utf8') === stringify(identity)) continue;
    throw new UserError(
      `--force would remove ${lost}, which the experiment is made of: choose another folder with --out`,
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
      `${folder} holds a ${stranger}, but no ${name} that says what it is of: choose another folder with --out, or --force to start over`,
    );
  }
  const found = readIdentity(file);
  const difference = differenceOf(found, identity, ignored);
  if (difference === undefined) return;
  throw new UserError(
    `${folder} holds another experiment (${difference}): choose another folder with --out, or --force to start over`,
  );
}

function readIdentity(file: string): Identity {
  let problem = 'it is no configuration';
  try {
    const found: unknown = parse(readFileSync(file, 'utf8'));
    if (isMapping(found)) return found;
  } catch (error) {
    // Behind the first line YAML draws where it is.
    problem = error instanceof YAMLParseError ? error.message.split(/:?\n/)[0] : reason(error);
  }
  throw new UserError(
    `cannot read ${file} (${problem}): choose another folder with --out, or --force to start over`,
  );
}

/** A key whose value is another, both as texts. */
export interface Difference {
  key: string;
  was: string;
  is: string;
}

/**
 * In what one experiment is another than it was.
 *
 * @param ignored keys, as `training.checkpointEvery`, that do not count, nor what is below them
 */
export function differencesIn(
  was: Identity,
  is: Identity,
  ignored: readonly string[] = [],
): Difference[] {
  const plain = JSON.parse(JSON.stringify(is)) as Identity;
  return differing(was, plain)
    .filter((key) => !ignored.some((one) => key === one || key.startsWith(`${one}.`)))
    .map((key) => ({ key, was: valueAt(was, key), is: valueAt(plain, key) }));
}

/** The first of them in one line, such as `seed was 1, is 2`; undefined if there is none. */
export function differenceOf(
  was: Identity,
  is: Identity,
  ignored: readonly string[],
): string | undefined {
  const differences = differencesIn(was, is, ignored);
  if (differences.length === 0) return undefined;
  const shown = differences.slice(0, 3).map(({ key, was, is }) => `${key} was ${was}, is ${is}`);
  const more = differences.length > 3 ? ` and ${differences.length - 3} more` : '';
  return `${shown.join('; ')}${more}`;
}

/** The key paths at which two values differ; lists of mappings are compared one by one. */
function differing(a: unknown, b: unknown, at = ''): string[] {
  if (isDeepStrictEqual(a, b)) return [];
  if (isListOfMappings(a) && isListOfMappings(b) && a.length === b.length)
    return a.flatMap((one, i) => differing(one, b[i], `${at}.${i}`));
  if (!isMapping(a) || !isMapping(b)) return [at];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => differing(a[key], b[key], at === '' ? key : `${at}.${key}`));
}

function valueAt(value: unknown, at: string): string {
  const found = at.split('.').reduce<unknown>((inner, key) => {
    if (Array.isArray(inner)) return inner[Number(key)];
    return isMapping(inner) ? inner[key] : undefined;
  }, value);
  if (found === undefined) return 'absent';
  if (isListOfMappings(found)) return `a list of ${found.length}`;
  const text = JSON.stringify(found);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function isListOfMappings(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.every(isMapping);
}

/** Parts of a result as JSON files, each with a hash of it and of what it depends on; those for which
 *  it does not hold are as if not there. */
function storeIn(folder: string, key: Identity): Store {
  const digestOf = (value: unknown): string =>
    createHash('sha256')
      .update(JSON.stringify([key, value]))
      .digest('hex');
  const file = (name: string) => path.join(folder, `${name}.json`);
  return {
    read(name) {
      try {
        const text = readFileSync(file(name), 'utf8');
        const { digest, value } = JSON.parse(text) as { digest: string; value: unknown };
        return digest === digestOf(value) ? value : undefined;
      } catch {
        return undefined;
      }
    },
    write(name, value) {
      writeFileAtomic(file(name), JSON.stringify({ digest: digestOf(value), value }));
    },
  };
}
