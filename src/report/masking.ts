import type { Row } from './result.js';

/** What FGS-Rate hides: percent of the correctly classified images, means over seeds. */
interface Masking {
  blank: number;
  fgs: number;
  unmasked: number;
}

/** Rates that differ by less, in percent, say the same. */
const SAME = 1;

/** What the FGS column hides, in one sentence; undefined where nothing was measured. */
export function maskingSentence(rows: readonly Row[]): string | undefined {
  const found = maskingOf(rows);
  if (!found) return undefined;
  const [share, unmasked, fgs] = textsOf(found);
  switch (kindOf(found)) {
    case 'nothing succeeds':
      return 'FGS succeeds on no image, nor does it on the gradient of the log-odds: FGS-Rate says nothing about robustness.';
    case 'as it stands':
      return 'No gradient is blank in float32: FGS-Rate can be read as it stands.';
    case 'weak':
      return `No loss is exactly 0 in float32, but on the gradient of the log-odds, which cannot underflow, FGS succeeds on ${unmasked} %, not ${fgs} %.`;
    case 'no matter':
      return `The gradients of ${share} % of the images are blank in float32, but FGS does not succeed more often on the gradient of the log-odds, which cannot underflow (${unmasked} %).`;
    case 'masked':
      return (
        `FGS-Rate counts ${share} % of the images as robust because their float32 loss gradient is blank; ` +
        `on the gradient of the log-odds, which cannot underflow, FGS succeeds on ${unmasked} %, not ${fgs} %.`
      );
  }
}

/** The same for a table of many rows. */
export function maskingInBrief(rows: readonly Row[]): string | undefined {
  const found = maskingOf(rows);
  if (!found) return undefined;
  const [share, unmasked, fgs] = textsOf(found);
  switch (kindOf(found)) {
    case 'nothing succeeds':
      return 'neither FGS nor unmasked FGS succeeds on any image';
    case 'as it stands':
      return 'no blank gradient';
    case 'weak':
      return `no blank gradient, but unmasked FGS succeeds on ${unmasked} %, not ${fgs} %`;
    case 'no matter':
      return `${share} % blank gradients, but unmasked FGS does not succeed more often (${unmasked} %)`;
    case 'masked':
      return `${share} % blank gradients; unmasked FGS succeeds on ${unmasked} %, not ${fgs} %`;
  }
}

function textsOf({ blank, unmasked, fgs }: Masking): [string, string, string] {
  return [blank.toFixed(1), unmasked.toFixed(2), fgs.toFixed(2)];
}

function kindOf({ blank, fgs, unmasked }: Masking) {
  if (fgs === 0 && unmasked === 0) return 'nothing succeeds';
  if (blank > 0) return unmasked > fgs ? 'masked' : 'no matter';
  return unmasked > fgs + SAME ? 'weak' : 'as it stands';
}

function maskingOf(rows: readonly Row[]): Masking | undefined {
  const each = rows.flatMap(({ blank, correct, attacks }): Masking[] => {
    const { fgs, 'fgs-unmasked': unmasked } = attacks;
    if (!fgs || !unmasked || correct === 0) return [];
    return [{ blank: (100 * blank) / correct, fgs: fgs.rate, unmasked: unmasked.rate }];
  });
  if (each.length === 0) return undefined;
  const mean = (key: keyof Masking): number =>
    each.reduce((sum, one) => sum + one[key], 0) / each.length;
  return { blank: mean('blank'), fgs: mean('fgs'), unmasked: mean('unmasked') };
}
