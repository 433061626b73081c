import { z } from 'zod';
import { DEFAULT_ATTACKS, type Norm } from '../attacks/attack.js';
import {
  isRobustAccuracy,
  OLD_NAMES,
  ROBUST_ACCURACY,
  type Scalar,
  scalarNamed,
  SCALARS,
} from '../metrics/quantities.js';
import { budgetsOf, problemsOfBudgets, type WrittenBudgets } from './budgets.js';
import { mapping, positive, text } from './fields.js';
import { isMapping, type KeyPath, type Problem, valueAt, wrong } from './problems.js';
import { nearest } from '../base/text.js';

const limit = z.number({ error: 'a number' });

const bandSchema = mapping({
  min: limit.optional().describe('The smallest value allowed.'),
  max: limit.optional().describe('The largest value allowed.'),
  deviations: positive()
    .optional()
    .describe(
      "The largest distance allowed from the baseline's mean, in standard deviations of the baseline.",
    ),
  margin: positive()
    .optional()
    .describe(
      "A distance always allowed from the baseline's mean, even if the deviations allow less.",
    ),
});

/** The limits of a number. All must hold, but of `deviations` and `margin` only the wider counts. */
export type Band = z.output<typeof bandSchema>;

const NAMES = SCALARS.map(({ name }) => name);

/** The scalar that a key of an `expect` block names, by its current or its old name. */
function scalarAt(key: string): Scalar | undefined {
  return scalarNamed(OLD_NAMES.get(key) ?? key);
}

const robustBand = z.toJSONSchema(
  bandSchema.describe(
    'The band of the accuracy within this budget in grey levels, which evaluation.budgets has, in %.',
  ),
  { target: 'draft-07' },
);
// Only a whole schema says which draft it is in.
delete robustBand.$schema;

/** The `expect` block of a config: bands by the names of the numbers, of which `problemsOfExpect` knows those with budgets. */
export const expectSchema = mapping({
  baseline: text
    .optional()
    .describe(
      'The file of the baseline, relative to this one; bang check --update-baseline writes it.',
    ),
  ...Object.fromEntries(
    SCALARS.map(({ name, unit }) => [
      name,
      bandSchema.optional().describe(`The band of ${name}${unit === '' ? '' : `, in ${unit}`}.`),
    ]),
  ),
  ...Object.fromEntries(
    [...OLD_NAMES].map(([old, name]) => [
      old,
      bandSchema.optional().describe(`The old name of ${name}.`).meta({ deprecated: true }),
    ]),
  ),
})
  .catchall(bandSchema)
  .meta({
    additionalProperties: false,
    patternProperties: {
      [ROBUST_ACCURACY.source]: robustBand,
    },
  }) as unknown as z.ZodObject<
  { baseline: z.ZodOptional<z.ZodString> },
  z.core.$catchall<typeof bandSchema>
>;

/** What a config expects of the numbers of its experiment. */
export interface Expectation {
  /** The path of the baseline's file. */
  baseline?: string;
  bands: ReadonlyMap<string, Band>;
  /** A sentence for each old name that the block uses. */
  notes: string[];
}

/** @param parsed an output of `expectSchema` in which `problemsOfExpect` finds no problem */
export function expectationOf(parsed: z.output<typeof expectSchema>): Expectation {
  const { baseline, ...bands } = parsed as { baseline?: string } & Record<string, Band>;
  const given = Object.entries(bands).map(
    ([key, band]) => [OLD_NAMES.get(key) ?? key, band] as const,
  );
  // In the order of `NAMES`, not of the file; accuracies within budgets are not among them, and last.
  const place = (name: string): number =>
    isRobustAccuracy(name) ? NAMES.length : NAMES.indexOf(name);
  return {
    baseline,
    bands: new Map(given.toSorted(([a], [b]) => place(a) - place(b))),
    notes: Object.keys(bands).flatMap((key) => {
      const name = OLD_NAMES.get(key);
      return name === undefined ? [] : [`expect.${key} is now called ${name}`];
    }),
  };
}

/** Whether a path leads to or into a key of an `expect` block that names no number. */
export function isOfUnknownNumber(path: KeyPath): boolean {
  const [block, name = 'baseline'] = path.map(String);
  return block === 'expect' && name !== 'baseline' && !scalarAt(name);
}

/**
 * The problems of an `expect` block that its schema cannot find.
 *
 * @param removed paths that a file sets to null to drop inherited values
 */
export function problemsOfExpect(root: unknown, removed: readonly KeyPath[]): Problem[] {
  const given = valueAt(root, ['expect']);
  const block = isMapping(given) ? given : {};
  const paths = [...Object.keys(block).map((name) => ['expect', name]), ...removed];
  const problems = paths
    .filter(isOfUnknownNumber)
    .map((path) => wrong(path, unknownNumber(String(path[1])), 'key'));
  for (const [name, band] of Object.entries(block)) {
    const found = scalarAt(name);
    if (!found || !isMapping(band)) continue;
    const path: KeyPath = ['expect', name];
    const wrong = (message: string, at: Problem['at'] = 'key') =>
      problems.push({ path, at, message });
    const { attack, ofNoise, ofPass, within } = found.quantity;

    if (found.name !== name && Object.hasOwn(block, found.name)) {
      wrong(`${name} is the old name of ${found.name}, which is given too: leave out one of them`);
    }
    const given = Object.keys(band);
    if (given.length === 0)
      wrong('expected a band, such as {min: 1, max: 2}, found an empty mapping', 'value');
    const { min, max } = band;
    if (typeof min === 'number' && typeof max === 'number' && min > max) {
      wrong(`the band is empty: min ${min} is above max ${max}`);
    }
    const isPercent = found.unit === '%';
    for (const [key, bound] of Object.entries({ min, max })) {
      if (typeof bound !== 'number' || !isPercent) continue;
      if (bound > 100) wrong(`${key} ${bound} is more than 100 %`);
      // An accuracy within a budget may well be as small as that, but nobody asks for so little.
      const isShare = within ? key === 'min' && bound < 1 : name === 'accuracy' && bound <= 1;
      if (isShare && bound > 0) {
        wrong(`${key} ${bound} is in percent: did you mean ${Number((100 * bound).toFixed(6))}?`);
      }
    }
    const relative = ['deviations', 'margin'].find((key) => Object.hasOwn(band, key));
    if (relative !== undefined && block.baseline === undefined) {
      wrong(`${relative} is relative to a baseline: name its file with expect.baseline`);
    }
    const attacks = valueAt(root, ['evaluation', 'attacks']) ?? DEFAULT_ATTACKS;
    if (attack && Array.isArray(attacks) && !attacks.includes(attack)) {
      wrong(`${attack} is not among evaluation.attacks`);
    } else if (within && Array.isArray(attacks) && attacks.length === 0) {
      wrong('evaluation.attacks is empty, so that nothing is attacked');
    } else if (ofPass && valueAt(root, ['evaluation', 'pass']) === false) {
      wrong('evaluation.pass is false, so PASS is not measured');
    } else if (ofNoise && valueAt(root, ['evaluation', 'noise']) === undefined) {
      wrong('evaluation.noise is missing, so noise is not measured');
    } else if (within && !budgetsIn(root, within.norm).includes(within.budget)) {
      wrong(
        `${within.budget} is not among evaluation.budgets in ${within.norm}, in grey levels: add it there`,
      );
    }
  }
  return problems;
}

/** The budgets that a config names, in grey levels. */
function budgetsIn(root: unknown, norm: Norm): readonly number[] {
  const given = valueAt(root, ['evaluation', 'budgets']) as WrittenBudgets | undefined;
  const isGiven = Array.isArray(given) || isMapping(given);
  return isGiven && problemsOfBudgets(given, []).length === 0 ? (budgetsOf(given)[norm] ?? []) : [];
}

/** The message for an unknown key in `expect`, with the closest name and all names. */
function unknownNumber(name: string): string {
  const near =
    nearest(name, NAMES) ??
    NAMES.find((one) => one.startsWith(`${name}_`) || one.split('_').includes(name));
  const meant = near === undefined ? '' : `, did you mean ${near}?`;
  return `no such number${meant} (there are ${NAMES.join(', ')}, robust_accuracy_linf_N and robust_accuracy_l2_N)`;
}
