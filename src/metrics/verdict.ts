import { AUTO, type AttackName, STRONGER_ATTACKS } from '../attacks/attack.js';
import type { Row } from './row.js';
import { meanOf } from '../base/sums.js';
import { explains } from './masking.js';

/** How much of a network is left: percentages of all test images that are still classified correctly, means over seeds. */
export interface Standing {
  /** Test images, the same for each seed. */
  images: number;
  /** Without an attack. */
  accuracy: number;
  /** The L∞ that the attacks may use, in grey levels; null: any. */
  budget: number | null;
  /** Under FGS alone, and under FGS along the gradient of the log-odds; undefined if not measured. */
  fgs?: number;
  unmasked?: number;
  /** Under the attack that needs the smallest L∞, image by image; only with a budget. */
  worst?: number;
  /** Percentage of all test images whose loss gradient is exactly zero, so that FGS has no direction. */
  blank: number;
}

/** Budgets at which robust accuracy is known of all rows, ascending; none if it is not known of one of them. */
export function commonBudgets(rows: readonly Row[]): number[] {
  const [first = [], ...others] = rows.map(({ robustness }) => robustness?.budgets ?? []);
  return first.filter((budget) => others.every((budgets) => budgets.includes(budget)));
}

/**
 * The budget at which networks are compared: the middle one. At the smallest almost every image withstands, and at
 * the largest almost none.
 */
export function tellingBudget(rows: readonly Row[]): number | null {
  const budgets = commonBudgets(rows);
  return budgets.at(Math.floor(budgets.length / 2)) ?? null;
}

/** @param rows of one network, one for each seed; at least one */
export function standingOf(rows: readonly Row[], budget: number | null): Standing {
  const meanOver = (of: (row: Row) => number | undefined): number | undefined => {
    const each = rows.flatMap((row) => of(row) ?? []);
    return each.length === 0 ? undefined : meanOf(each);
  };
  const left = (name: AttackName | 'worst') =>
    meanOver(({ images, correct, attacks, robustness }) => {
      if (budget !== null) {
        return robustness?.attacks[name]?.accuracy[robustness.budgets.indexOf(budget)];
      }
      const found = name === 'worst' ? undefined : attacks[name];
      return found && (100 * (correct - found.succeeded)) / images;
    });
  return {
    images: rows[0].images,
    accuracy: meanOf(rows.map(({ accuracy }) => accuracy)),
    budget,
    fgs: left('fgs'),
    unmasked: left('fgs-unmasked'),
    worst: left('worst'),
    blank: meanOf(rows.map(({ blank, images }) => (100 * blank) / images)),
  };
}

/** FGS counts as misleading if it leaves so many percentage points more than FGS unmasked. */
const MUCH = 10;

/**
 * Why FGS leaves much more than FGS unmasked: its gradient is masked, or its direction is weak for another reason, such
 * as reversed channels. Undefined if it does not leave much more, or if that is not known.
 */
export function misleads({ fgs, unmasked, blank }: Standing): 'masked' | 'weak' | undefined {
  if (fgs === undefined || unmasked === undefined || fgs - unmasked < MUCH) return undefined;
  return explains(blank, fgs - unmasked) ? 'masked' : 'weak';
}

/**
 * Which attacks stronger than the paper's a network has withstood, as a key: what is left of two networks can be compared
 * only if it is the same. `auto` is as strong as all of them.
 */
export function strengthOf({ attacks, robustness }: Row): string {
  if (robustness?.attacks[AUTO]) return AUTO;
  return STRONGER_ATTACKS.filter((name) => attacks[name]).join(' ');
}

/** How much the worst attack leaves of a network, beside another one; `unclear`: there are too few images to tell. */
export type Comparison = 'more' | 'less' | 'as much' | 'unclear';

/** Differences of up to this many standard errors are as good as none. */
const WITHIN = 2;

/** In percentage points: a difference of so much must be visible where none is said to be there. */
const VISIBLE = 5;

/**
 * Compares what the worst attack leaves of two networks. The standard error is that of two shares of as many
 * images, drawn independently; both networks see the same images, so it is rather too large.
 *
 * @returns undefined if it is not known of one of them
 */
export function compareStanding(one: Standing, other: Standing): Comparison | undefined {
  if (one.worst === undefined || other.worst === undefined) return undefined;
  const variance = ({ worst = 0, images }: Standing): number =>
    ((worst / 100) * (1 - worst / 100)) / images;
  const error = 100 * Math.sqrt(variance(one) + variance(other));
  const difference = one.worst - other.worst;
  if (Math.abs(difference) <= WITHIN * error) {
    return WITHIN * error <= VISIBLE ? 'as much' : 'unclear';
  }
  return difference > 0 ? 'more' : 'less';
}
