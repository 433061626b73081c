import type { AttackName } from '../attacks/attack.js';

/** What perturbations that one network was attacked with do to another. */
export interface Transfer {
  attack: AttackName;
  /** The network they were made on, and the one they were tried on. */
  from: string;
  to: string;
  /** Test images that both classify correctly. */
  images: number;
  /** Of these, fooling the one they were made on. */
  fooled: number;
  /** Of the fooled, also misclassified by the other. */
  transferred: number;
  /** Over the fooled, in pixel units. */
  linf: { mean: number; std: number } | null;
}

/** Percent of the perturbations that fool their own network; undefined if none does. */
export function transferRate({ fooled, transferred }: Transfer): number | undefined {
  return fooled === 0 ? undefined : (100 * transferred) / fooled;
}
