import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { readUserFile, reason } from '../base/files.js';
import { configFile, didYouMeanConfig } from './builtIn.js';
import { checkConfig, type Checked } from './parse.js';
import { pathText, type KeyPath, type Problem } from './problems.js';
import {
  Complaints,
  isNull,
  parseYaml,
  plain,
  treeAt,
  type Complaint,
  type Place,
  type Tree,
} from './yamlTree.js';

/** An experiment from its files and the overrides of the command line. */
export interface LoadedConfig extends Checked {
  file: string;
  /** The file and all files that it extends, nearest first. */
  sources: string[];
}

/** Everything wrong with a configuration; `lines` begin with `file:line:column:` or `--set key:`. */
export class ConfigError extends UserError {
  constructor(readonly lines: string[]) {
    super(
      lines.length === 1
        ? lines[0]
        : `${lines.length} problems in the configuration\n${lines.join('\n')}`,
    );
  }
}

const MAX_BYTES = 1_000_000;

/**
 * Reads an experiment from a YAML file and the files it extends.
 *
 * @param given the path of the file, or the name of one that comes with the program
 * @param overrides such as `training.bang.beta=1.2`, the value in YAML; null removes the key
 * @throws ConfigError with a line for each problem; UserError if the file cannot be read or is of
 *   another kind
 */
export async function loadConfig(
  given: string,
  overrides: readonly string[] = [],
): Promise<LoadedConfig> {
  const file = configFile(given);
  const sources: string[] = [];
  return complaintsAsErrors(sources, async () => {
    const tree = await readYaml(file, sources, overrides);
    refuseOtherKind('model', tree, given);
    return { ...checkTree(tree, stem(file)), file, sources };
  });
}

type Kind = 'experiment' | 'sweep' | 'study';

/** The kinds of files, by a key that all of a kind have, and the command that runs one. */
const KINDS = {
  study: { keys: ['study'], what: 'a noise study', command: (file: string) => `noise ${file}` },
  sweep: {
    keys: ['base'],
    what: 'a sweep',
    command: (file: string) => `sweep ${file}, check it with --dry-run`,
  },
  experiment: {
    keys: ['model', 'data', 'training'],
    what: 'an experiment',
    command: (file: string) => `run ${file}`,
  },
} as const;

/**
 * Refuses a file of another kind, for which every key would be reported as unknown.
 *
 * @param own a key of all files of the expected kind
 * @throws UserError with the right command for the file
 */
export function refuseOtherKind(own: 'model' | 'base', tree: Tree, file: string): void {
  const { value } = plainOf(tree);
  if (Object.hasOwn(value, own)) return;
  const kind = kindOf(tree);
  if (kind === undefined || KINDS[kind].keys.some((key) => key === own)) return;
  const { what, command } = KINDS[kind];
  throw new UserError(`${file} describes ${what}: run it with bang ${command(file)}`);
}

/** The kind of a file, as far as its keys tell. */
export function kindOf(tree: Tree): Kind | undefined {
  const { value } = plainOf(tree);
  return (Object.keys(KINDS) as Kind[]).find((kind) =>
    KINDS[kind].keys.some((key) => Object.hasOwn(value, key)),
  );
}

/** The kind of a file; undefined if it cannot be read or is of no kind, which whoever loads it reports. */
export async function kindOfFile(given: string): Promise<Kind | undefined> {
  try {
    return kindOf(await readYaml(configFile(given), []));
  } catch {
    return undefined;
  }
}

/** @throws UserError if a file that another names is of another kind than `wanted` */
export function refuseForeign(tree: Tree, file: string, wanted: Kind): void {
  const kind = kindOf(tree);
  if (kind === undefined || kind === wanted) return;
  throw new UserError(`${file} describes ${KINDS[kind].what}: name ${KINDS[wanted].what}`);
}

/** Turns `Complaints` that work throws into a `ConfigError`, in the order of the sources. */
export async function complaintsAsErrors<T>(
  sources: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Complaints) throw new ConfigError(linesOf(error.complaints, sources));
    throw error;
  }
}

/**
 * Reads a YAML file of keys and values with all files that it extends, and with the overrides of the command line. Adds
 * the paths of the files to `sources`.
 *
 * @throws Complaints; UserError if the file cannot be read
 */
export async function readYaml(
  file: string,
  sources: string[],
  overrides: readonly string[] = [],
): Promise<Tree> {
  sources.push(file);
  const tree = await readChain(file, sources, [await identity(file)]);
  return overrides.reduce((read, override) => replaceIn(read, parseOverride(override)), tree);
}

/**
 * @param name the experiment's name if the tree has none
 * @throws Complaints
 */
export function checkTree(tree: Tree, name: string): Checked {
  const { value, removed } = plainOf(tree);
  const named = Object.hasOwn(value, 'name') ? value : { ...value, name };
  const checked = checkConfig(named, removed);
  if ('config' in checked) return checked;
  throw complaintsOf(tree, checked.problems);
}

/** A mapping as plain data, without the keys that are set to null: their paths are `removed`. */
export function plainOf(tree: Tree): { value: Record<string, unknown>; removed: KeyPath[] } {
  const removed: KeyPath[] = [];
  return { value: plain(tree, removed) as Record<string, unknown>, removed };
}

export function complaintsOf(tree: Tree, problems: readonly Problem[]): Complaints {
  return new Complaints(problems.map((problem) => locate(tree, problem)));
}

/** Reads a file and the files that it extends, and adds the latter to `sources`. */
async function readChain(file: string, sources: string[], chain: string[]): Promise<Tree> {
  const tree = await readTree(file);
  placePaths(tree, file);
  const base = tree.entries.get('extends');
  tree.entries.delete('extends');
  if (!base || isNull(base)) return tree;

  const fail = (text: string) => new Complaints([{ at: base.at, text: `extends: ${text}` }]);
  if (base.kind !== 'scalar' || typeof base.value !== 'string' || base.value === '') {
    throw fail('expected the path of one file, relative to this one');
  }
  const below = configFile(base.value, path.dirname(file));
  const id = await identity(below);
  if (chain.includes(id)) {
    throw fail(`a circle, ${[...sources, below].join(' extends ')}`);
  }
  sources.push(below);
  try {
    const inherited = await readChain(below, sources, [...chain, id]);
    const own = kindOf(tree);
    if (own) refuseForeign(inherited, below, own);
    return replaceIn(inherited, tree);
  } catch (error) {
    // If the base cannot be read, the mistake is in the line that names it.
    throw error instanceof UserError ? fail(error.message) : error;
  }
}

/** Keys of an experiment that are paths. */
const PATHS: readonly (readonly string[])[] = [
  ['expect', 'baseline'],
  ['training', 'from'],
  ['training', 'from', 'weights'],
];

/** Makes paths relative to the file that sets them, not to a file that inherits them. */
function placePaths(tree: Tree, file: string): void {
  for (const keys of PATHS) {
    const at = treeAt(tree, keys);
    if (at?.kind !== 'scalar' || typeof at.value !== 'string') continue;
    if (!path.isAbsolute(at.value) && at.value !== '') {
      at.value = path.join(path.dirname(file), at.value);
    }
  }
}

async function readTree(file: string): Promise<Extract<Tree, { kind: 'mapping' }>> {
  const tree = parseYaml(await readText(file), (line, column) => ({ file, line, column }));
  const expected = 'expected keys and values, such as model: lenet';
  if (!tree) {
    throw new Complaints([{ at: { file, line: 1, column: 1 }, text: `empty, ${expected}` }]);
  }
  if (tree.kind !== 'mapping') {
    const found = tree.kind === 'list' ? 'a list' : 'a single value';
    throw new Complaints([{ at: tree.at, text: `${expected}, found ${found}` }]);
  }
  // Places for anchors, as in other programs' files.
  for (const key of tree.entries.keys()) if (key.startsWith('x-')) tree.entries.delete(key);
  return tree;
}

async function readText(file: string): Promise<string> {
  const info = await stat(file).catch((error: unknown) => {
    throw new UserError(`cannot read ${file}: ${reason(error)}${didYouMeanConfig(file, error)}`);
  });
  if (info.isDirectory()) throw new UserError(`cannot read ${file}: it is a folder`);
  if (!info.isFile()) throw new UserError(`cannot read ${file}: it is not a regular file`);
  if (info.size > MAX_BYTES) {
    throw new UserError(`${file} is larger than 1 MB: that is not a configuration`);
  }
  const bytes = await readUserFile(file);
  const text = bytes.includes(0) ? undefined : decode(bytes);
  if (text === undefined) throw new UserError(`${file} is not a text file in UTF-8`);
  return text;
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The folder of the file that has a value, which may be one that another extends; `other` if no file has it. */
export function folderOf(value: Tree | undefined, other: string): string {
  return value && 'file' in value.at ? path.dirname(value.at.file) : other;
}

/** A file's path without links, by which circles are found. */
async function identity(file: string): Promise<string> {
  return realpath(file).catch(() => path.resolve(file));
}

/**
 * A tree with only the value of an override such as `training.batch=8`.
 *
 * @throws Complaints
 */
export function parseOverride(override: string): Tree {
  const equals = override.indexOf('=');
  const key = equals < 0 ? override : override.slice(0, equals);
  const at: Place = { set: key };
  const fail = (text: string) => new Complaints([{ at, text }]);

  const keys = keysIn(key);
  if (equals < 0 || !keys) throw fail('expected key=value, such as seed=2');
  if (keys[0] === 'extends') throw fail('only a file can extend another');
  const value = parseYaml(override.slice(equals + 1), () => at);
  if (!value) throw fail(`expected a value after =; ${key}=null removes the key`);
  return change(keys, at, value);
}

/** The keys of a path such as `training.bang.beta`; undefined if it is not one. */
export function keysIn(text: string): string[] | undefined {
  const keys = text.split('.');
  return keys.includes('') || keys.length > 20 ? undefined : keys;
}

/** A tree with only one value, at a path of keys. */
export function change(keys: readonly string[], at: Place, value: Tree): Tree {
  const outer = { at, keyAt: at, kind: 'mapping', partial: true } as const;
  return keys.reduceRight<Tree>(
    (inner, name) => ({ ...outer, entries: new Map([[name, inner]]) }),
    { ...value, keyAt: at },
  );
}

/** Keys that replace an inherited key with the same meaning. */
const REPLACES: Record<string, string> = { seeds: 'seed', seed: 'seeds' };

/** A configuration with the changes of another, which extends it. */
export function replaceIn(base: Tree, over: Tree): Tree {
  if (base.kind !== 'mapping' || over.kind !== 'mapping') return over;
  const entries = new Map(base.entries);
  for (const [key, value] of over.entries) {
    if (!isNull(value) && Object.hasOwn(REPLACES, key)) entries.delete(REPLACES[key]);
  }
  return merge({ ...base, entries }, over);
}

/** Mappings are merged key by key; anything else is replaced. */
function merge(base: Tree, over: Tree): Tree {
  if (base.kind !== 'mapping' || over.kind !== 'mapping') return over;
  const entries = new Map(base.entries);
  for (const [key, value] of over.entries) {
    const inherited = entries.get(key);
    entries.set(key, inherited ? merge(inherited, value) : value);
  }
  // A missing key is reported where the mapping is written, not where a part of it is changed.
  const changes = 'set' in over.at || over.partial === true;
  return { ...(changes ? base : over), kind: 'mapping', entries };
}

function locate(tree: Tree, { path: keys, at, message, wantsText }: Problem): Complaint {
  const text = (place: Place) => {
    const name = pathText(keys);
    const said = keys.length === 0 || ('set' in place && place.set === name);
    const sentence = at === 'value' ? asWritten(message, node, wantsText) : message;
    return { at: place, text: said ? sentence : `${name}: ${sentence}` };
  };
  let node = tree;
  for (const key of keys) {
    let next: Tree | undefined;
    if (node.kind === 'mapping') next = node.entries.get(String(key));
    else if (node.kind === 'list') next = node.items[Number(key)];
    if (!next) return text(node.keyAt);
    node = next;
  }
  return text(at === 'value' ? node.at : node.keyAt);
}

/** A message that ends with the value found, with the value as it is in the file: `1.10`, not `1.1`. */
function asWritten(message: string, node: Tree, wantsText = false): string {
  if (node.kind !== 'scalar' || node.written === undefined) return message;
  const end = `found ${String(node.value)}`;
  if (!message.endsWith(end)) return message;
  const { written } = node;
  const short = written.length > 60 ? `${written.slice(0, 60)}…` : written;
  const hint = wantsText ? `; in quotes it is a text: "${short}"` : '';
  return `${message.slice(0, -end.length)}found ${short}${hint}`;
}

/** The complaints as lines, file by file in the order of `sources`, then the command line. */
function linesOf(complaints: readonly Complaint[], sources: readonly string[]): string[] {
  const rank = ({ at }: Complaint) =>
    'set' in at ? [sources.length, 0, 0] : [sources.indexOf(at.file), at.line, at.column];
  const sorted = [...complaints].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
  });
  const lines = sorted.map(({ at, text }) => {
    const place = 'set' in at ? `--set ${at.set}` : `${at.file}:${at.line}:${at.column}`;
    return `${place}: ${text}`;
  });
  return [...new Set(lines)];
}

/** A file's name without its extension, made a valid name for a run. */
export function stem(file: string): string {
  const name = path.basename(file, path.extname(file)).replace(/[^A-Za-z0-9._-]+/g, '-');
  return name.replace(/^[.-]+/, '').slice(0, 100) || 'unnamed';
}
