import { z } from 'zod';

/** Where in a configuration: keys of mappings and indices of lists. */
export type KeyPath = readonly (string | number)[];

/** Something wrong, and whether the key itself is, its value, or that there is none. */
export interface Problem {
  path: KeyPath;
  at: 'key' | 'value' | 'missing';
  message: string;
}

/**
 * What a value breaks of a schema, in sentences. The schema's `error` messages are the part after
 * "expected".
 *
 * @param removed paths that a file sets to null, to drop what it inherits: they must be real keys
 */
export function problemsOf(
  schema: z.ZodType,
  value: unknown,
  removed: readonly KeyPath[],
): Problem[] {
  const problemsOfIssue = (issue: z.core.$ZodIssue, parent: KeyPath): Problem[] => {
    const path = [...parent, ...(issue.path as (string | number)[])];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey(schema, value, [...path, key]));
    }
    if (issue.code === 'invalid_union') {
      // A mapping with one wrong value was surely meant as a mapping: say what is wrong inside.
      const inside = issue.errors.find((issues) => issues.every((inner) => inner.path.length > 0));
      if (inside) return inside.flatMap((inner) => problemsOfIssue(inner, path));
    }
    const expected = `expected ${issue.message}`;
    const found = valueAt(value, path);
    return found === undefined && path.length > 0
      ? [{ path, at: 'missing', message: `missing, ${expected}` }]
      : [{ path, at: 'value', message: `${expected}, found ${inBrief(found)}` }];
  };

  const issues = schema.safeParse(value).error?.issues ?? [];
  return [
    ...issues.flatMap((issue) => problemsOfIssue(issue, [])),
    ...removed
      .filter((path) => !mayBeKey(schema, path))
      .map((path) => unknownKey(schema, value, path)),
  ];
}

function unknownKey(schema: z.ZodType, root: unknown, path: KeyPath): Problem {
  const key = String(path[path.length - 1]);
  const parent = path.slice(0, -1);
  if (mayBeKey(schema, path)) {
    // One member of a union has this key, but not the member that was chosen.
    const policy = String(valueAt(root, [...parent, 'policy']));
    const message = `not a key of policy ${policy}; if it is inherited, drop it with ${key}: null`;
    return { path, at: 'key', message };
  }
  const keys = [...new Set(shapesAt(schema, parent).flatMap((shape) => Object.keys(shape)))];
  const elsewhere = keysOf(schema).find((other) => other.split('.').at(-1) === key);
  const meant = elsewhere ?? nearest(key, keys);
  const hint = meant ? `did you mean ${meant}?` : `expected ${inWords(keys)}`;
  return { path, at: 'key', message: `unknown key, ${hint}` };
}

/** Every key of a schema, as `training.bang.beta`, parents before children. */
export function keysOf(schema: z.ZodType): string[] {
  const keys = new Set<string>();
  const visit = (path: readonly string[]) => {
    for (const shape of shapesAt(schema, path)) {
      for (const key of Object.keys(shape)) {
        keys.add([...path, key].join('.'));
        visit([...path, key]);
      }
    }
  };
  visit([]);
  return [...keys];
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;

function mayBeKey(schema: z.ZodType, path: KeyPath): boolean {
  const shapes = shapesAt(schema, path.slice(0, -1));
  const key = path[path.length - 1];
  // Where there is no shape, any key may stand: the layers of `beta`.
  return shapes.length === 0 || shapes.some((shape) => Object.hasOwn(shape, key));
}

/** The mappings that may stand at a path: none, one, or one for each member of a union. */
function shapesAt(schema: z.ZodType, path: KeyPath): Shape[] {
  let shapes = shapesOf(schema);
  for (const key of path) {
    shapes = shapes.flatMap((shape) => (Object.hasOwn(shape, key) ? shapesOf(shape[key]) : []));
  }
  return shapes;
}

function shapesOf(schema: z.core.$ZodType): Shape[] {
  if (schema instanceof z.ZodObject) return [schema.shape];
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(shapesOf);
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return shapesOf(schema.unwrap());
  }
  return [];
}

/** The word that was probably meant, or undefined if none is near. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const typed = word.toLowerCase();
  let best: string | undefined;
  let least = Infinity;
  for (const candidate of words) {
    const distance = editDistance(typed, candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return least <= Math.max(1, Math.floor(word.length / 3)) ? best : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
      }
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}

/** What lies at a path, or undefined. Never looks into prototypes. */
export function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `a`, `a or b`, `a, b or c`. */
export function inWords(names: readonly string[]): string {
  const last = names[names.length - 1];
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} or ${last}`;
}

/** A value as it fits in a sentence. */
export function inBrief(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (isMapping(value)) return 'a mapping';
  return typeof value === 'string' ? quoted(value) : String(value);
}

/** `training.learningRate.at[1]`; keys that are no plain words are quoted and escaped. */
export function pathText(path: KeyPath): string {
  return path
    .map((part, i) => {
      if (typeof part === 'number') return `[${part}]`;
      return (i === 0 ? '' : '.') + (/^[\w-]{1,60}$/.test(part) ? part : quoted(part));
    })
    .join('');
}

/** Quoted, cut short, and with nothing in it that a terminal would obey. */
function quoted(value: string): string {
  const short = value.length > 60 ? `${value.slice(0, 60)}…` : value;
  return JSON.stringify(short).replace(
    /[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}
