import { z } from 'zod';
import { DEFAULT_ATTACKS } from '../attacks/attack.js';
import { ROW_FIGURES } from '../metrics/quantities.js';
import { mapping, positive, text } from './fields.js';
import { isMapping, nearest, valueAt, type KeyPath, type Problem } from './problems.js';

const limit = z.number({ error: 'a number' });

const bandSchema = mapping({
  min: limit.optional().describe('The least that it may be.'),
  max: limit.optional().describe('The most that it may be.'),
  deviations: positive()
    .optional()
    .describe("How many of the baseline's standard deviations it may be off the baseline's mean."),
  margin: positive()
    .optional()
    .describe("How far it may be off the baseline's mean at least, whatever the deviations say."),
});

/** What a figure may be: all that is given must hold; `deviations` and `margin` are one, the wider. */
export type Band = z.output<typeof bandSchema>;

const NAMES = ROW_FIGURES.map(({ name }) => name);

/** The `expect` block of a config: a band for each figure, by its name. */
export const expectSchema = mapping({
  baseline: text
    .optional()
    .describe(
      'The file of the baseline, relative to this one; bang check --update-baseline writes it.',
    ),
  ...Object.fromEntries(
    ROW_FIGURES.map(({ name, unit }) => [
      name,
      bandSchema.optional().describe(`The band of ${name}${unit === '' ? '' : `, in ${unit}`}.`),
    ]),
  ),
}) as z.ZodObject<{ baseline: z.ZodOptional<z.ZodString> }, z.core.$strict>;

/** What is expected of the figures of an experiment. */
export interface Expectation {
  /** The path of the baseline's file. */
  baseline?: string | undefined;
  bands: ReadonlyMap<string, Band>;
}

/** @param parsed what `expectSchema` gave, and `problemsOfExpect` found nothing wrong with */
export function expectationOf(parsed: z.output<typeof expectSchema>): Expectation {
  const { baseline, ...bands } = parsed as { baseline?: string } & Record<string, Band>;
  // In the order of the figures, whatever order they are written in.
  return {
    baseline,
    bands: new Map(NAMES.flatMap((name) => (name in bands ? [[name, bands[name]]] : []))),
  };
}

/** What is wrong with an `expect` block that its shape does not tell. */
export function problemsOfExpect(root: unknown): Problem[] {
  const block = valueAt(root, ['expect']);
  if (!isMapping(block)) return [];
  const problems: Problem[] = [];
  for (const [name, band] of Object.entries(block)) {
    const figure = ROW_FIGURES.find((one) => one.name === name);
    if (!figure || !isMapping(band)) continue;
    const path: KeyPath = ['expect', name];
    const wrong = (message: string, at: Problem['at'] = 'key') =>
      problems.push({ path, at, message });

    const given = Object.keys(band);
    if (given.length === 0)
      wrong('expected a band, such as {min: 1, max: 2}, found an empty mapping', 'value');
    const { min, max } = band;
    if (typeof min === 'number' && typeof max === 'number' && min > max) {
      wrong(`nothing is in the band: min ${min} is above max ${max}`);
    }
    const relative = ['deviations', 'margin'].find((key) => Object.hasOwn(band, key));
    if (relative !== undefined && block.baseline === undefined) {
      wrong(`${relative} is relative to a baseline: name its file with expect.baseline`);
    }
    const attacks = valueAt(root, ['evaluation', 'attacks']) ?? DEFAULT_ATTACKS;
    if (figure.attack && Array.isArray(attacks) && !attacks.includes(figure.attack)) {
      wrong(`${figure.attack} is not among evaluation.attacks`);
    } else if (figure.ofPass && valueAt(root, ['evaluation', 'pass']) === false) {
      wrong('evaluation.pass is false, so PASS is not measured');
    }
  }
  return problems;
}

/** Of a key in `expect` that is no figure: the one that was meant, and all there are. */
export function unknownFigure(name: string): string {
  const near = nearest(name, NAMES) ?? NAMES.find((one) => one.split('.').includes(name));
  const meant = near === undefined ? '' : `, did you mean ${near}?`;
  return `no such figure${meant} (there are ${NAMES.join(', ')})`;
}
