import { z } from 'zod';
import { inWords } from './problems.js';

// A schema's `error` is the end of a sentence, "expected …"; `problemsOf` writes the rest of it.

export function integer(min: number, max?: number): z.ZodInt {
  const error =
    max === undefined ? `an integer, ${min} or more` : `an integer from ${min} to ${max}`;
  const schema = z.int({ error }).min(min, { error });
  return max === undefined ? schema : schema.max(max, { error });
}

export function notNegative(error = 'a number, 0 or more'): z.ZodNumber {
  return z.number({ error }).min(0, { error });
}

export function positive(): z.ZodNumber {
  const error = 'a number above 0';
  return z.number({ error }).gt(0, { error });
}

export function oneOf<const T extends readonly [string, ...string[]]>(names: T) {
  return z.enum(names, { error: inWords(names) });
}

export function mapping<const S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, { error: 'a mapping' });
}

export const text = z.string({ error: 'a text' });
export const trueOrFalse = z.boolean({ error: 'true or false' });
