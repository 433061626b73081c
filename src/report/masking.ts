import { ATTACKS } from '../attacks/attacks.js';
import { ATTACK_NAMES } from '../attacks/attack.js';
import {
  hiddenByFgs,
  readingOf,
  type HiddenByFgs,
  type MaskingOfAttack,
  type MaskingStudy,
} from '../metrics/masking.js';
import { printable } from '../base/text.js';
import type { Row } from '../metrics/row.js';
import { countCell, NOTHING, type Grid } from './grid.js';

export function blankSentence({ attacked, blank }: MaskingStudy): string {
  return `${blank} of ${attacked} gradients are blank in float32`;
}

/** How many images each attack fools, and with how small a change, beside FGS. */
export function maskingGrid({ fgsFails, attacks }: MaskingStudy): Grid {
  // Studies with PGD only are of earlier versions, or of older configurations.
  const ofPgd = attacks.pgd !== undefined && attacks.apgd === undefined;
  return {
    columns: [
      { title: [''], align: 'left' },
      { title: ['fooled'] },
      { title: [`of the ${fgsFails}`, 'FGS leaves'] },
      { title: ['smaller L∞', 'than FGS'] },
      { title: ['smaller L∞', ofPgd ? 'than PGD' : 'than APGD'] },
    ],
    rows: Object.entries<MaskingOfAttack>(attacks).map(([name, found]) => {
      const isFgs = name === 'fgs';
      const isYardstick = name === (ofPgd ? 'pgd' : 'apgd');
      const below = (isYardstick ? null : ofPgd ? found.belowPgd : found.belowApgd) ?? null;
      return [
        { text: titleOf(name) },
        countCell(found.fooled),
        isFgs ? NOTHING : countCell(found.fgsFails),
        isFgs ? NOTHING : countCell(found.belowFgs),
        below === null ? NOTHING : countCell(below),
      ];
    }),
  };
}

/** An attack of a later version has no title here. */
function titleOf(name: string): string {
  const known = ATTACK_NAMES.find((one) => one === name);
  return known ? ATTACKS[known].title : printable(name);
}

/** What the FGS column hides, in one sentence; undefined if nothing was measured. */
export function maskingSentence(rows: readonly Row[]): string | undefined {
  const found = hiddenByFgs(rows);
  if (!found) return undefined;
  const [share, unmasked, fgs] = textsOf(found);
  switch (readingOf(found)) {
    case 'nothing succeeds':
      return 'FGS succeeds on no image, nor does it on the gradient of the log-odds: FGS-Rate says nothing about robustness.';
    case 'as it stands':
      return 'No gradient is blank in float32: underflow hides nothing behind FGS-Rate.';
    case 'weak':
      return `${found.blank === 0 ? 'No gradient is blank in float32' : `The gradients of ${share} % of the images are blank in float32`}, but on the gradient of the log-odds, which cannot underflow, FGS succeeds on ${unmasked} %, not ${fgs} %.`;
    case 'no matter':
      return `The gradients of ${share} % of the images are blank in float32, but FGS succeeds ${moreOften(found)} on the gradient of the log-odds, which cannot underflow (${unmasked} %, not ${fgs} %).`;
    case 'masked':
      return (
        `FGS-Rate counts as robust ${share} % of the images, whose float32 loss gradient is blank; ` +
        `on the gradient of the log-odds, which cannot underflow, FGS succeeds on ${unmasked} %, not ${fgs} %.`
      );
  }
}

/** The same for a table of many rows. */
export function maskingInBrief(rows: readonly Row[]): string | undefined {
  const found = hiddenByFgs(rows);
  if (!found) return undefined;
  const [share, unmasked, fgs] = textsOf(found);
  switch (readingOf(found)) {
    case 'nothing succeeds':
      return 'neither FGS nor unmasked FGS succeeds on any image';
    case 'as it stands':
      return 'no blank gradient';
    case 'weak':
      return `${found.blank === 0 ? 'no blank gradient' : `${share} % blank gradients`}, but unmasked FGS succeeds on ${unmasked} %, not ${fgs} %`;
    case 'no matter':
      return `${share} % blank gradients, but unmasked FGS succeeds ${moreOften(found)} (${unmasked} %, not ${fgs} %)`;
    case 'masked':
      return `${share} % blank gradients; unmasked FGS succeeds on ${unmasked} %, not ${fgs} %`;
  }
}

function moreOften({ unmasked, fgs }: HiddenByFgs): string {
  return unmasked > fgs ? 'hardly more often' : 'no more often';
}

function textsOf({ blank, unmasked, fgs }: HiddenByFgs): [string, string, string] {
  return [blank.toFixed(1), unmasked.toFixed(2), fgs.toFixed(2)];
}
