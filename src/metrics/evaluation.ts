import type { AttackName, Protocol } from '../attacks/attack.js';

/** What one attack did to each image; NaN where it failed or was not tried. */
export interface AttackOutcome {
  /** Largest change of a pixel, in pixel units. */
  linf: Float32Array;
  /** L2 norm of the change, of attacks in L2. */
  l2?: Float32Array;
  /** PASS, and 1 or 0 for whether the pair could be aligned; absent where it was not measured. */
  pass?: Float32Array;
  aligned?: Uint8Array;
  seconds: { attack: number; pass: number };
}

/** What an evaluation found, image by image. */
export interface Evaluation {
  images: number;
  labels: Uint8Array;
  predicted: Uint8Array;
  blank: Uint8Array;
  protocol: Protocol;
  attacks: Map<AttackName, AttackOutcome>;
}
