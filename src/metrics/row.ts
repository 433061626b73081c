import type { AttackName, Protocol } from '../attacks/attack.js';
import type { Evaluation } from './evaluation.js';
import type { DataName } from '../data/sources.js';
import { type Spread, spreadOf } from './statistics.js';
import { maskingStudy, type MaskingStudy } from './masking.js';
import { BUDGETS, type Robustness, robustnessOf, tellsRobustness } from './robustness.js';

/** One attack in one row of a table. */
export interface AttackSummary {
  /** Images that were classified correctly: those attacked. */
  attacked: number;
  succeeded: number;
  /** Percent of the attacked. */
  rate: number;
  /** Over successful attacks, in pixel units; null if there is none. */
  linf: Spread | null;
  /** Over successful attacks, of attacks in L2. */
  l2?: Spread | null;
  /** Over successful attacks; null if not measured. */
  pass: Spread | null;
  /** Pairs that could be aligned for PASS; null if not measured. */
  aligned: number | null;
  seconds: { attack: number; pass: number };
}

/** A row of figures, as Tables 1 and 2 have them. */
export interface Row {
  images: number;
  /** Percent. */
  accuracy: number;
  correct: number;
  /** Correctly classified images whose float32 loss is exactly zero, so that FGS sees no gradient. */
  blank: number;
  protocol: Protocol;
  attacks: Partial<Record<AttackName, AttackSummary>>;
  /** Where an attack was made that takes steps. */
  robustness?: Robustness;
  masking?: MaskingStudy;
}

/** @param data whose budgets the robust accuracy is given at */
export function summarise(evaluation: Evaluation, data: DataName): Row {
  const { images, labels, predicted, blank, protocol } = evaluation;
  let correct = 0;
  let blanks = 0;
  for (let i = 0; i < images; i++) {
    if (predicted[i] !== labels[i]) continue;
    correct++;
    blanks += blank[i];
  }
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
      aligned: aligned ? aligned.reduce((sum, one) => sum + one, 0) : null,
      seconds,
    };
  }
  const accuracy = (100 * correct) / images;
  const row: Row = { images, accuracy, correct, blank: blanks, protocol, attacks };
  if (!tellsRobustness(evaluation)) return row;
  row.robustness = robustnessOf(evaluation, BUDGETS[data]);
  const masking = maskingStudy(evaluation);
  return masking ? { ...row, masking } : row;
}
