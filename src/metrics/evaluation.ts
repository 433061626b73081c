import type { AttackName, Protocol } from '../attacks/attack.js';

/** The results of one attack for each image; norms are NaN where it failed or was not tried. */
export interface AttackOutcome {
  /** Largest change of a pixel, in grey levels. */
  linf: Float32Array;
  /** L2 norm of the change in grey levels, for attacks in L2. */
  l2?: Float32Array;
  /** PASS, and 1 if the pair could be aligned, else 0; absent if not measured. */
  pass?: Float32Array;
  aligned?: Uint8Array;
  seconds: { attack: number; pass: number };
}

/** The results of an evaluation for each image. */
export interface Evaluation {
  images: number;
  labels: Uint8Array;
  predicted: Uint8Array;
  blank: Uint8Array;
  protocol: Protocol;
  attacks: Map<AttackName, AttackOutcome>;
}
