/** Grey: no perturbation. */
const MIDDLE = 128;

/** How far a perturbation is magnified to reach black or white somewhere: 127 / L∞. */
export function magnification(linf: number): number {
  return (MIDDLE - 1) / linf;
}

/** The perturbation of an image, magnified, on grey. */
export function perturbationOf(
  original: Uint8Array,
  perturbed: Uint8Array,
  linf: number,
): Uint8Array {
  const factor = magnification(linf);
  return original.map((value, i) => Math.round(MIDDLE + factor * (perturbed[i] - value)));
}
