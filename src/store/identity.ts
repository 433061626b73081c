import { isDeepStrictEqual } from 'node:util';
import { messageOf, UserError } from '../base/errors.js';
import { readRegularFile } from '../base/files.js';
import { briefJson } from '../base/text.js';
import { parsePlainYaml } from '../config/yamlTree.js';
import { isMapping, valueAt } from '../config/problems.js';

/** What identifies an experiment: plain data on which all its numbers depend. */
export type Identity = Record<string, unknown>;

/** Keys of a config on which no number depends, except that engines differ in the last bits. */
export const INCIDENTAL = [
  'name',
  'description',
  'published',
  'engine',
  'training.checkpointEvery',
  'training.snapshots',
  // The hash beside the path is what counts.
  'training.from.weights',
] as const;

/**
 * Keys in which runs of one experiment may differ. The protocol's name only repeats the keys `search`
 * and `channels`.
 */
export const BESIDE: readonly string[] = [...INCIDENTAL, 'seed', 'evaluation.protocol'];

/** In bytes, as that of a configuration. */
const LARGEST = 2 ** 20;

/** What a user can do about a folder that holds something else. */
export const OTHERWISE = 'choose another folder with --out, or --force to start over';

/** @throws UserError if the file cannot be read or is not a mapping */
export function readIdentity(file: string): Identity {
  let problem = 'it is not a configuration';
  try {
    const found: unknown = parsePlainYaml(readRegularFile(file, LARGEST).toString('utf8'));
    if (isMapping(found)) return found;
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${error.message}; ${OTHERWISE}`);
    // The lines after the first show the place in the file.
    problem = messageOf(error).split(/:?\n/)[0];
  }
  throw new UserError(`cannot read ${file} (${problem}): ${OTHERWISE}`);
}

/**
 * An identity without some keys, in the same order.
 *
 * @param ignored keys to leave out with all keys below them, such as `training.checkpointEvery`
 */
export function without(identity: object, ignored: readonly string[], at = ''): Identity {
  const kept = Object.entries(identity).flatMap(([key, inner]: [string, unknown]) => {
    const name = at === '' ? key : `${at}.${key}`;
    if (ignored.includes(name)) return [];
    return [[key, isMapping(inner) ? without(inner, ignored, name) : inner]];
  });
  return Object.fromEntries(kept) as Identity;
}

/** A value as JSON, which does not depend on the order of the keys of mappings. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (!isMapping(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** A key with different values, as text. */
export interface Difference {
  key: string;
  was: string;
  is: string;
}

/**
 * The differences between two identities.
 *
 * @param ignored keys to ignore with all keys below them, such as `training.checkpointEvery`
 */
export function differencesIn(
  was: Identity,
  is: Identity,
  ignored: readonly string[] = [],
): Difference[] {
  const plain = JSON.parse(JSON.stringify(is)) as Identity;
  return differingKeys(was, plain)
    .filter((key) => !ignored.some((one) => key === one || key.startsWith(`${one}.`)))
    .map((key) => ({ key, was: textAt(was, key), is: textAt(plain, key) }));
}

/** The first differences in one line, such as `seed was 1, is 2`; undefined if there are none. */
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
function differingKeys(a: unknown, b: unknown, at = ''): string[] {
  // 0 and −0 are not deeply equal, and are the same in JSON.
  if (a === b || isDeepStrictEqual(a, b)) return [];
  if (isListOfMappings(a) && isListOfMappings(b) && a.length === b.length)
    return a.flatMap((one, i) => differingKeys(one, b[i], `${at}.${i}`));
  if (!isMapping(a) || !isMapping(b)) return [at];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) =>
    differingKeys(valueAt(a, [key]), valueAt(b, [key]), at === '' ? key : `${at}.${key}`),
  );
}

/** The value at a key path as text, cut if it is long. */
export function textAt(value: unknown, at: string): string {
  const found = valueAt(value, at.split('.'));
  if (found === undefined) return 'absent';
  if (isListOfMappings(found)) return `a list of ${found.length}`;
  return briefJson(found);
}

function isListOfMappings(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.every(isMapping);
}
