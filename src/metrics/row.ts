import { usualBudgets } from '../attacks/auto.js';
import {
  type AttackName,
  type Norm,
  type Protocol,
  type AttackPart,
  ATTACK_PARTS,
} from '../attacks/attack.js';
import type { NoiseSettings } from '../attacks/flips.js';
import { type BudgetOutcome, type Evaluation, rightOf } from './evaluation.js';
import { meanOf, sumOf } from '../base/sums.js';
import { sampleVariance, type Spread, spreadOf } from './statistics.js';
import { maskingStudy, type MaskingStudy } from './masking.js';
import { type Robustness, robustnessOf, tellsRobustness } from './robustness.js';

/** One attack in one row of a table. */
export interface AttackSummary {
  /** Number of attacked images: those classified correctly. */
  attacked: number;
  succeeded: number;
  /** Percentage of the attacked images. */
  rate: number;
  /** Over successful attacks, in grey levels; null if there are none. */
  linf: Spread | null;
  /** Over successful attacks, in grey levels, for attacks in L2. */
  l2?: Spread | null;
  /** Over successful attacks; null if not measured. */
  pass: Spread | null;
  /** Number of pairs that could be aligned for PASS; null if not measured. */
  aligned: number | null;
  seconds: { attack: number; pass: number };
}

/** What the strongest attacks leave within one budget. */
export interface AtBudget {
  norm: Norm;
  /** In grey levels. */
  budget: number;
  /** Number of images that are classified correctly and that none of the attacks fools. */
  left: number;
  /** Percentage of all images that are left. */
  accuracy: number;
  /** Number of images that each attack fooled: the one with the smallest change of those made before, else the first. */
  taken: Partial<Record<AttackPart, number>>;
  seconds: number;
}

/** How many noisy copies of the correctly classified images are misclassified. */
export interface NoiseRate extends NoiseSettings {
  /** Number of images: those classified correctly. */
  images: number;
  flips: number;
  /** In percent of all copies; null without images. */
  rate: number | null;
  /** Standard error in percentage points for other images and other noise; null with fewer than two images. */
  overImages: number | null;
}

/** The numbers of one network, as in Tables 1 and 2. */
export interface Row {
  images: number;
  /** Percent. */
  accuracy: number;
  correct: number;
  /** Number of correctly classified images whose float32 loss is exactly zero, so that FGS has no gradient. */
  blank: number;
  protocol: Protocol;
  attacks: Partial<Record<AttackName, AttackSummary>>;
  /** Only if noise was asked for. */
  noise?: NoiseRate;
  /** Only if accuracy within budgets was asked for; L∞ first, in each norm with ascending budgets. */
  atBudgets?: AtBudget[];
  /** Only if a stronger attack was run or budgets were given; `masking` only with a stronger attack and FGS. */
  robustness?: Robustness;
  masking?: MaskingStudy;
}

/** The numbers of an evaluation, in the units that `Row` and its parts name. */
export function summarise(evaluation: Evaluation): Row {
  const { images, protocol } = evaluation;
  const right = rightOf(evaluation);
  const correct = right.length;
  const blank = sumOf(right.map((i) => evaluation.blank[i]));
  const attacks: Row['attacks'] = {};
  for (const [name, { linf, l2, pass, aligned, seconds }] of evaluation.attacks) {
    const succeeded = linf.reduce((count, value) => count + +!Number.isNaN(value), 0);
    attacks[name] = {
      attacked: correct,
      succeeded,
      rate: correct === 0 ? 0 : (100 * succeeded) / correct,
      linf: spreadOf(linf),
      l2: l2 && spreadOf(l2),
      pass: pass ? spreadOf(pass) : null,
      aligned: aligned ? sumOf(aligned) : null,
      seconds,
    };
  }
  const accuracy = (100 * correct) / images;
  const row: Row = { images, accuracy, correct, blank, protocol, attacks };
  if (evaluation.noise) row.noise = noiseRate(evaluation.noise);
  if (evaluation.atBudgets) {
    row.atBudgets = evaluation.atBudgets.map((outcome) => atBudget(outcome, images, correct));
  }
  const { budgets, channels } = evaluation;
  const isStrong = tellsRobustness(evaluation);
  const isAttacked = evaluation.attacks.size > 0 || evaluation.atBudgets !== undefined;
  if ((budgets?.linf && isAttacked) || isStrong) {
    row.robustness = robustnessOf(evaluation, budgets?.linf ?? usualBudgets(channels).linf);
  }
  const masking = isStrong ? maskingStudy(evaluation) : undefined;
  return masking ? { ...row, masking } : row;
}

function noiseRate({ flips, ...settings }: NonNullable<Evaluation['noise']>): NoiseRate {
  const tried = [...flips].filter((count) => count >= 0);
  const shares = tried.map((count) => (100 * count) / settings.copies);
  const variance = sampleVariance(shares);
  return {
    ...settings,
    images: tried.length,
    flips: sumOf(tried),
    rate: tried.length === 0 ? null : meanOf(shares),
    overImages: variance === null ? null : Math.sqrt(variance / tried.length),
  };
}

function atBudget(
  { norm, budget, by, seconds }: BudgetOutcome,
  images: number,
  correct: number,
): AtBudget {
  const taken: AtBudget['taken'] = {};
  for (const name of ATTACK_PARTS) {
    const count = by.filter((one) => one === name).length;
    if (count > 0) taken[name] = count;
  }
  const left = correct - by.filter((one) => one !== undefined).length;
  return { norm, budget, left, accuracy: (100 * left) / images, taken, seconds };
}
