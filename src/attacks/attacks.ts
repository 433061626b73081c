import type { Dataset } from '../data/dataset.js';
import type { Model } from '../model/network.js';
import { effortOf, type Adversarials, type Attack, type AttackName } from './attack.js';
import type { GivenEffort, Norm, Protocol, AttackPart } from './attack.js';
import { apgd } from './apgd.js';
import { strongest } from './auto.js';
import { classifierOf, originalsOf } from './classifier.js';
import { deepfoolL2, deepfoolLinf } from './deepfool.js';
import { fgs } from './fgs.js';
import { fgsUnmasked } from './fgsUnmasked.js';
import { hc1 } from './hc1.js';
import { directionsOf, searchLines, type LineSearch } from './line.js';
import { minimiseBudget, withinBudget } from './minimise.js';
import { perturbationNorms } from './perturbationNorms.js';
import { pgd } from './pgd.js';
import { bisection, scan, type SearchOptions } from './search.js';
import { square } from './square.js';

export const ATTACKS: Record<AttackName, Attack> = {
  fgs,
  'fgs-unmasked': fgsUnmasked,
  hc1,
  pgd,
  apgd,
  'deepfool-l2': deepfoolL2,
  'deepfool-linf': deepfoolLinf,
  square,
};

/** The results of an attack for each image. */
export interface AttackResult {
  /** Largest change of a pixel, in grey levels; NaN if the attack failed. */
  linf: Float32Array;
  /** The L2 norm of the change in grey levels, for attacks in L2; NaN if the attack failed. */
  l2?: Float32Array;
  /** The perturbed images, N×H×W×C, integers; unchanged if the attack failed. */
  adversarials: Uint8Array;
}

/**
 * Attacks the images at these positions, which the network must classify correctly.
 *
 * @throws Interrupted if the signal aborts
 */
export async function attackImages(
  attack: Attack,
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  settings: Protocol & GivenEffort,
  options: Pick<SearchOptions, 'done' | 'signal'> = {},
): Promise<AttackResult> {
  const originals = originalsOf(data, positions);
  const classifier = classifierOf(model);
  const { batch } = classifier;
  const { search, channels } = settings;
  const effort = effortOf(settings);
  const { signal } = options;
  const found = await adversarials();
  const { linf, l2 } = perturbationNorms(originals, found);
  const isInL2 = attack.kind === 'minimisation' && attack.norm === 'l2';
  return { linf, adversarials: found.images, ...(isInL2 && { l2 }) };

  async function adversarials(): Promise<Adversarials> {
    switch (attack.kind) {
      case 'line': {
        const reversed = channels === 'reversed' && attack.published;
        const how = { reversed, batch, signal };
        const directions = await directionsOf(attack, model, originals, how);
        const searched: LineSearch = (count, probe, given) =>
          search === 'scan'
            ? scan(count, attack.scan, probe, given)
            : bisection(count, attack.bisection, probe, given);
        return searchLines(classifier, originals, directions, searched, { batch, ...options });
      }
      case 'minimisation':
        return attack.minimise(classifier, originals, options);
      case 'budget': {
        const attempts = attack.attempts({ classifier, originals }, effort, signal);
        return minimiseBudget(attempts, originals, { batch, ...options });
      }
    }
  }
}

/** The results of attacks within a budget, for each image. */
export interface WithinResult {
  /** Who fooled it; undefined if none did. */
  by: (AttackPart | undefined)[];
  /** The change in the norm of the budget, in grey levels; NaN if none fooled it. */
  size: Float32Array;
  /** The perturbed images, N×H×W×C, integers; unchanged if none fooled it. */
  adversarials: Uint8Array;
}

/**
 * Attacks the images at these positions, which the network must classify correctly, within one budget: the strongest
 * attacks one after the other, each only the images that are left.
 *
 * @param budget in grey levels; an integer in L∞
 * @throws Interrupted if the signal aborts
 */
export async function attackWithin(
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  { norm, budget, effort }: { norm: Norm; budget: number; effort: GivenEffort },
  options: Pick<SearchOptions, 'done' | 'signal'>,
): Promise<WithinResult> {
  const originals = originalsOf(data, positions);
  const classifier = classifierOf(model);
  const target = { classifier, originals };
  const stages = strongest(target, norm, effortOf(effort), options.signal);
  const how = { batch: classifier.batch, ...options };
  const found = await withinBudget(stages, originals, budget, how);
  return {
    by: found.by,
    size: perturbationNorms(originals, found)[norm],
    adversarials: found.images,
  };
}
