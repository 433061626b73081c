import { z } from 'zod';
import { inWords, nearest, quoted } from '../base/text.js';

/** A place in a configuration: keys of mappings and indices of lists. */
export type KeyPath = readonly (string | number)[];

/** Something wrong with a key, its value, or its absence. */
export interface Problem {
  path: KeyPath;
  at: 'key' | 'value' | 'missing';
  message: string;
  /** Whether a text is expected, which a number in quotes is. */
  wantsText?: boolean;
  /** The keys that an unknown one was perhaps meant to be, as in `training.batch`. */
  meant?: string[];
}

export function wrong(path: KeyPath, message: string, at: Problem['at'] = 'value'): Problem {
  return { path, at, message };
}

/** A problem for each value of a list that is in it before. */
export function repeats(list: readonly unknown[], path: KeyPath): Problem[] {
  const seen = new Set<string>();
  return list.flatMap((value, i) => {
    const text = JSON.stringify(value);
    if (seen.has(text)) return [wrong([...path, i], `${inBrief(value)} is in the list twice`)];
    seen.add(text);
    return [];
  });
}

/**
 * The problems of a value according to a schema, whose `error` messages are the part after "expected".
 *
 * @param removed paths that a file sets to null to drop inherited values: they must be existing keys
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
      // A mapping with wrong contents was meant as a mapping: report what is wrong inside.
      const isInside = ({ path, code }: z.core.$ZodIssue) =>
        path.length > 0 || code === 'unrecognized_keys';
      const inside = issue.errors.find((issues) => issues.every(isInside));
      if (inside) return inside.flatMap((inner) => problemsOfIssue(inner, path));
    }
    const expected = `expected ${issue.message}`;
    const found = valueAt(value, path);
    const wantsText = issue.code === 'invalid_type' && issue.expected === 'string';
    return found === undefined && path.length > 0
      ? [{ path, at: 'missing', message: `missing, ${expected}` }]
      : [{ path, at: 'value', message: `${expected}, found ${inBrief(found)}`, wantsText }];
  };

  const issues = schema.safeParse(value).error?.issues ?? [];
  const problems = [
    ...issues.flatMap((issue) => problemsOfIssue(issue, [])),
    ...removed
      .filter((path) => !mayBeKey(schema, path))
      .map((path) => unknownKey(schema, value, path)),
  ];
  // A misspelt key is one mistake, not one more for the key that is missing.
  const meant = new Set(problems.flatMap((problem) => problem.meant ?? []));
  return problems.filter(({ at, path }) => at !== 'missing' || !meant.has(path.join('.')));
}

function unknownKey(schema: z.ZodType, root: unknown, path: KeyPath): Problem {
  const key = String(path[path.length - 1]);
  const parent = path.slice(0, -1);
  const shapes = shapesAt(schema, parent);
  const chosen = chosenOf(shapes, valueAt(root, parent));
  const keys = [...new Set((chosen ? [chosen.shape] : shapes).flatMap((one) => Object.keys(one)))];
  const wrongKey = (message: string): Problem => wrong(path, message, 'key');
  if (parent.length === 0) {
    // Resolved before the schema is checked, where a file has it.
    if (key === 'extends') return wrongKey('only a file extends another: name a file here instead');
    keys.push('extends');
  }
  if (chosen && mayBeKey(schema, path)) {
    // Another member of the union has this key.
    const foreign = `not a key of ${chosen.by} ${chosen.name}`;
    // Lists are replaced as a whole, so this key cannot be inherited.
    if (parent.some((part) => typeof part === 'number')) {
      const own = keys.filter((one) => one !== chosen.by);
      return wrongKey(own.length > 0 ? `${foreign}, which has ${inWords(own)}` : foreign);
    }
    return wrongKey(`${foreign}; if it is inherited, drop it with ${key}: null`);
  }
  const elsewhere = nearestPlaces(
    keysOf(schema).filter((other) => other.split('.').at(-1) === key),
    parent,
  );
  const near = nearest(key, keys);
  const meant = elsewhere.length > 0 ? elsewhere : near === undefined ? [] : [near];
  const place =
    meant[0] === key ? 'it belongs at the top level' : `did you mean ${inWords(meant)}?`;
  const hint = meant.length > 0 ? place : `expected ${inWords(keys)}`;
  const whole = elsewhere.length > 0 ? elsewhere : meant.map((one) => [...parent, one].join('.'));
  return { ...wrongKey(`unknown key, ${hint}`), meant: whole };
}

const MANY = 3;

/**
 * Those of some keys that have most of their parents in common with a place, as `training.bang.epsilon` with
 * `training`; none if they are too many for a hint.
 */
function nearestPlaces(keys: readonly string[], parent: KeyPath): string[] {
  const common = (key: string): number =>
    key.split('.').findIndex((part, i) => i === parent.length || part !== parent[i]);
  const most = Math.max(...keys.map(common));
  const found = keys.filter((key) => common(key) === most);
  return found.length > MANY ? [] : found;
}

/** The member of a union that a value's `policy` or `kind` selects. */
function chosenOf(
  shapes: readonly Shape[],
  value: unknown,
): { by: string; name: string; shape: Shape } | undefined {
  if (shapes.length < 2) return undefined;
  const isName = (schema: unknown, name: unknown): boolean =>
    schema instanceof z.ZodLiteral && schema.value === name;
  for (const by of Object.keys(shapes[0])) {
    const name = valueAt(value, [by]);
    const shape = shapes.find((one) => isName(one[by], name));
    if (typeof name === 'string' && shape) return { by, name, shape };
  }
  return undefined;
}

/** All keys of a schema, such as `training.bang.beta` or `model.layers[].kind`, parents first. */
export function keysOf(schema: z.ZodType): string[] {
  const keys = new Set<string>();
  const visit = (inner: z.core.$ZodType, at: string) => {
    for (const member of membersOf(inner)) {
      if (member instanceof z.ZodArray) visit(member.element, `${at}[]`);
      if (!(member instanceof z.ZodObject)) continue;
      for (const [key, value] of Object.entries<z.core.$ZodType>(member.shape)) {
        const name = at === '' ? key : `${at}.${key}`;
        keys.add(name);
        visit(value, name);
      }
    }
  };
  visit(schema, '');
  return [...keys];
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;

function mayBeKey(schema: z.ZodType, path: KeyPath): boolean {
  const members = schemasAt(schema, path.slice(0, -1)).filter((one) => one instanceof z.ZodObject);
  const key = path[path.length - 1];
  // Without a shape any key is allowed, such as the layers in `beta`.
  return (
    members.length === 0 ||
    members.some(
      ({ shape, _zod: { def } }) =>
        Object.hasOwn(shape, key) || (def.catchall && !(def.catchall instanceof z.ZodNever)),
    )
  );
}

/** The shapes that a mapping at a path may have: none, one, or one for each member of a union. */
function shapesAt(schema: z.ZodType, path: KeyPath): Shape[] {
  return schemasAt(schema, path).flatMap((member) =>
    member instanceof z.ZodObject ? [member.shape as Shape] : [],
  );
}

/** What a value at a path may be: none, one, or one for each member of a union. */
export function schemasAt(schema: z.ZodType, path: KeyPath): z.core.$ZodType[] {
  let members = membersOf(schema);
  for (const key of path) {
    members = members.flatMap((member) => {
      if (member instanceof z.ZodArray && typeof key === 'number') return membersOf(member.element);
      if (member instanceof z.ZodRecord) return membersOf(member.valueType);
      if (!(member instanceof z.ZodObject)) return [];
      const shape = member.shape as Shape;
      return Object.hasOwn(shape, key) ? membersOf(shape[key]) : [];
    });
  }
  return members;
}

/** A schema, or the members of a union, without the wrappers that make them optional. */
function membersOf(schema: z.core.$ZodType): z.core.$ZodType[] {
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(membersOf);
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return membersOf(schema.unwrap());
  }
  return [schema];
}

/** The value at a path, or undefined. Ignores prototypes. */
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

export function isOneOf<T extends string>(value: unknown, names: readonly T[]): value is T {
  return (names as readonly unknown[]).includes(value);
}

/** A value in short, for a sentence. */
export function inBrief(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (isMapping(value)) return 'a mapping';
  return typeof value === 'string' ? quoted(value) : String(value);
}

/** `training.learningRate.at[1]`; keys that are not plain words are quoted and escaped. */
export function pathText(path: KeyPath): string {
  return path
    .map((part, i) => {
      if (typeof part === 'number') return `[${part}]`;
      return (i === 0 ? '' : '.') + (/^[\w-]{1,60}$/.test(part) ? part : quoted(part));
    })
    .join('');
}
