import type { AttackName } from '../attacks/attack.js';
import type { Spread } from './statistics.js';

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
  linf: Spread | null;
}

/** The standard deviation of L∞; null if it is unknown, as over a single image. */
export function deviationOf({ fooled, linf }: Transfer): number | null {
  // Earlier versions wrote 0.
  return fooled < 2 || linf === null ? null : linf.std;
}

/** The percentage of the fooled that transfers; undefined if none is fooled. */
export function transferRate({ fooled, transferred }: Transfer): number | undefined {
  return fooled === 0 ? undefined : (100 * transferred) / fooled;
}
