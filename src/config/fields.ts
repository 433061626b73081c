import { z } from 'zod';
import { ENGINE_CHOICES } from '../engine/engine.js';
import { inWords } from '../base/text.js';

// A schema's `error` completes a sentence that begins with "expected"; `problemsOf` writes the rest.

export function integer(min: number, max?: number): z.ZodInt {
  const error =
    max === undefined ? `an integer, ${min} or more` : `an integer from ${min} to ${max}`;
  const schema = z.int({ error }).min(min, { error });
  return max === undefined ? schema : schema.max(max, { error });
}

export function notNegative(): z.ZodNumber {
  const error = 'a number, 0 or more';
  return z.number({ error }).min(0, { error });
}

export function positive(): z.ZodNumber {
  const error = 'a number above 0';
  return z.number({ error }).gt(0, { error });
}

/** What multiplies logits. Beyond, float32 could underflow or overflow, and predictions change. */
export const LOGIT_SCALES = {
  from: 1e-6,
  to: 1e6,
  inWords: 'a number from 0.000001 to 1000000',
} as const;

export function logitScale(): z.ZodNumber {
  const { from, to, inWords: error } = LOGIT_SCALES;
  return z.number({ error }).min(from, { error }).max(to, { error });
}

export function fromZeroToBelowOne(): z.ZodNumber {
  const error = 'a number from 0 to below 1';
  return z.number({ error }).min(0, { error }).lt(1, { error });
}

export function betweenZeroAndOne(): z.ZodNumber {
  const error = 'a number above 0 and below 1';
  return z.number({ error }).gt(0, { error }).lt(1, { error });
}

export function oneOf<const T extends readonly [string, ...string[]]>(names: T) {
  return z.enum(names, { error: inWords(names) });
}

export function mapping<const S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, { error: 'a mapping' });
}

export const text = z.string({ error: 'a text' });
export const trueOrFalse = z.boolean({ error: 'true or false' });

export const seed = integer(0, 2 ** 32 - 1);

/** Noisy copies of an image. With more, counting would never end. */
export const copies = integer(1, 1_000_000);

const runNameInWords =
  "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit";

/** A run's name is also its folder's: it cannot be hidden, `..` or look like an option. */
export const runName = z
  .string({ error: runNameInWords })
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/, { error: runNameInWords });

export const engine = oneOf(ENGINE_CHOICES)
  .default('auto')
  .describe(
    'What computes: webgpu (a GPU, after bang setup webgpu), tensorflow (after bang setup tensorflow), native (C++), wasm (the same in WebAssembly), cpu (plain JavaScript, slow), or auto, the best one available.',
  );
