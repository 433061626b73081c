import type { AttackName } from '../attacks/attack.js';

/** The effect on one network of perturbations made for another. */
export interface Transfer {
  attack: AttackName;
  /** The network that was attacked, and the one that the perturbations were tried on. */
  from: string;
  to: string;
  /** Test images that both classify correctly. */
  images: number;
  /** Number of these whose perturbation fools the attacked network. */
  fooled: number;
  /** Number of the fooled that the other network misclassifies too. */
  transferred: number;
  /** Over the fooled, in grey levels. */
  linf: { mean: number; std: number } | null;
}

/** The percentage of the fooled that transfers; undefined if none is fooled. */
export function transferRate({ fooled, transferred }: Transfer): number | undefined {
  return fooled === 0 ? undefined : (100 * transferred) / fooled;
}
