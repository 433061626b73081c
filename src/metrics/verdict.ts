import { AUTO, type AttackName, STRONGER_ATTACKS } from '../attacks/attack.js';
import type { NoiseRow } from './noise.js';
import type { Row } from './row.js';
import { meanOf } from '../base/sums.js';
import { sampleVariance, studentChance } from './statistics.js';
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
  /** Trainings of which `worst` is known, and its sample variance over them; null with fewer than two. */
  seeds: number;
  worstOverSeeds: number | null;
  /** Percentage of all test images whose loss gradient is exactly zero, so that FGS has no direction. */
  blank: number;
}

/**
 * Budgets at which robust accuracy under attacks stronger than the paper's is known of all rows, ascending; none if it
 * is not known of one of them.
 */
export function commonBudgets(rows: readonly Row[]): number[] {
  const [first = [], ...others] = rows.map((row) =>
    strengthOf(row) === '' ? [] : (row.robustness?.budgets ?? []),
  );
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
  const eachLeft = (name: AttackName | 'worst'): number[] =>
    rows.flatMap(({ images, correct, attacks, robustness }) => {
      if (budget !== null) {
        return robustness?.attacks[name]?.accuracy[robustness.budgets.indexOf(budget)] ?? [];
      }
      const found = name === 'worst' ? undefined : attacks[name];
      return found ? (100 * (correct - found.succeeded)) / images : [];
    });
  const left = (name: AttackName | 'worst'): number | undefined => {
    const each = eachLeft(name);
    return each.length === 0 ? undefined : meanOf(each);
  };
  return {
    images: rows[0].images,
    accuracy: meanOf(rows.map(({ accuracy }) => accuracy)),
    budget,
    fgs: left('fgs'),
    unmasked: left('fgs-unmasked'),
    worst: left('worst'),
    seeds: eachLeft('worst').length,
    worstOverSeeds: sampleVariance(eachLeft('worst')),
    blank: meanOf(rows.map(({ blank, images }) => (100 * blank) / images)),
  };
}

/** FGS counts as misleading if it leaves so many percentage points more than unmasked FGS. */
const MUCH = 10;

/**
 * Why FGS leaves much more than unmasked FGS: its gradient is masked, or its direction is weak for another reason, such
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

/** How much is left or misled of a network, beside another one; `unclear`: there are too few images to tell. */
export type Comparison = 'more' | 'less' | 'as much' | 'unclear';

/** A difference counts as one if it is less likely by chance than this. */
const UNLIKELY = 0.05;

/** In percentage points: a difference of so much must be visible where none is said to be there. */
const VISIBLE = 5;

/** As good as any number of degrees of freedom. */
const MANY = 1000;

/**
 * Compares what the worst attack leaves of two networks, by Student's t. The standard error is that of other images, for
 * two shares of independent ones (Agresti, Caffo, 2000; both networks see the same images, so it is rather too large), and
 * of other seeds (Welch, Satterthwaite). Of a network of one seed, the scatter over seeds is taken to be the other's.
 *
 * @returns undefined if it is not known of one of them
 */
export function compareStanding(one: Standing, other: Standing): Comparison | undefined {
  if (one.worst === undefined || other.worst === undefined) return undefined;
  // With one success and one failure more, so that a few images or 0 and 100 % do not pass for certain.
  const shares = [one, other].map(({ worst = 0, images }) => {
    const share = ((worst / 100) * images + 1) / (images + 2);
    return { share, variance: (share * (1 - share)) / (images + 2) };
  });
  const [ours, theirs] = shares;
  const overSeeds = [one, other].flatMap(({ seeds, worstOverSeeds }, i) => {
    if (worstOverSeeds === null) return [];
    const isBorrowed = [other, one][i].worstOverSeeds === null;
    const means = 1 / seeds + (isBorrowed ? 1 : 0);
    return { variance: (worstOverSeeds / 100 ** 2) * means, free: seeds - 1 };
  });
  const variance = [...shares, ...overSeeds].reduce((sum, part) => sum + part.variance, 0);
  const uncertain = overSeeds.reduce((sum, part) => sum + part.variance ** 2 / part.free, 0);
  const degrees = Math.max(1, Math.floor(Math.min(MANY, variance ** 2 / uncertain)));
  const error = 100 * Math.sqrt(variance);
  return comparisonOf(100 * (ours.share - theirs.share), VISIBLE, (difference) => {
    return studentChance(Math.abs(difference) / error, degrees) < UNLIKELY;
  });
}

/** @param isSeen whether a difference is beyond what chance gives */
function comparisonOf(
  difference: number,
  visible: number,
  isSeen: (difference: number) => boolean,
): Comparison {
  if (!isSeen(difference)) return isSeen(visible) ? 'as much' : 'unclear';
  return difference > 0 ? 'more' : 'less';
}

/** The same for what noise misleads, of which there are many copies. */
const VISIBLE_NOISE = 1;
/** Up to this many standard errors over images, a difference under noise is as good as none. */
const WITHIN = 2;

/** Compares how often noise misleads BANG's network and the regular one; undefined if it misleads neither. */
export function compareUnderNoise({ networks, difference }: NoiseRow): Comparison | undefined {
  if (networks.regular.rate === 0 && networks.bang.rate === 0) return undefined;
  const { value, overImages } = difference;
  if (overImages === null) return 'unclear';
  return comparisonOf(value, VISIBLE_NOISE, (found) => Math.abs(found) > WITHIN * overImages);
}
