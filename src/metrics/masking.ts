import { stringify } from 'csv-stringify/sync';
import type { AttackName } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/run.js';
import type { Evaluation } from '../experiment/evaluate.js';
import { countCell, drawGrid, NOTHING, type Grid } from '../report/grid.js';
import type { Row } from './row.js';

/** What other attacks find where FGS has no gradient; only of evaluations with an attack in steps. */
export interface MaskingStudy {
  /** Correctly classified images, and those of them whose gradient is blank in float32. */
  attacked: number;
  blank: number;
  /** Images that FGS does not fool. */
  fgsFails: number;
  attacks: Partial<Record<AttackName, MaskingOfAttack>>;
  conclusion: string;
}

/** Numbers of images. */
export interface MaskingOfAttack {
  fooled: number;
  /** Fooled by this one and not by FGS. */
  fgsFails: number;
  /** With a smaller L∞ than FGS, not fooled counting as infinite. */
  belowFgs: number;
  /** With a smaller L∞ than PGD; null if that was not made. */
  belowPgd: number | null;
}

/** Of the images, from which share on Square's being ahead of PGD says that PGD is misled. */
const MISLED = 0.1;

/** What masks a network's robustness; undefined without FGS. */
export function maskingStudy({
  images,
  labels,
  predicted,
  blank,
  attacks,
}: Evaluation): MaskingStudy | undefined {
  const right = Array.from({ length: images }, (_, i) => i).filter(
    (i) => predicted[i] === labels[i],
  );
  const linfOf = (name: AttackName): ((image: number) => number) | undefined => {
    const linf = attacks.get(name)?.linf;
    return linf && ((image) => (Number.isNaN(linf[image]) ? Infinity : linf[image]));
  };
  const [fgs, pgd] = [linfOf('fgs'), linfOf('pgd')];
  if (!fgs) return undefined;
  const count = (holds: (image: number) => boolean): number => right.filter(holds).length;
  const each = [...attacks.keys()].map((name): [AttackName, MaskingOfAttack] => {
    const linf = linfOf(name)!;
    const found = {
      fooled: count((i) => linf(i) < Infinity),
      fgsFails: count((i) => linf(i) < Infinity && fgs(i) === Infinity),
      belowFgs: count((i) => linf(i) < fgs(i)),
      belowPgd: pgd ? count((i) => linf(i) < pgd(i)) : null,
    };
    return [name, found];
  });
  const study = {
    attacked: right.length,
    blank: count((i) => blank[i] === 1),
    fgsFails: count((i) => fgs(i) === Infinity),
    attacks: Object.fromEntries(each) as MaskingStudy['attacks'],
  };
  return { ...study, conclusion: conclusionOf(study) };
}

function conclusionOf({
  attacked,
  blank,
  fgsFails,
  attacks,
}: Omit<MaskingStudy, 'conclusion'>): string {
  if (attacked === 0) return 'No image is classified correctly, so nothing was attacked.';
  const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`;
  const others = (['square', 'fgs-unmasked', 'pgd'] as const).flatMap((name) => {
    const found = attacks[name];
    return found && fgsFails > 0 ? [{ name, found }] : [];
  });
  const words = {
    square: 'Square, which sees no gradients, fools',
    'fgs-unmasked': 'FGS on the gradient of the log-odds, which cannot underflow, fools',
    pgd: 'PGD fools',
  };
  const most = Math.max(0, ...others.map(({ found }) => found.fgsFails));
  const beaten = others.filter(({ found }) => found.fgsFails > 0);
  const sentences: string[] = [];
  if (fgsFails === 0) {
    sentences.push('FGS fools every image, so no gradient is masked.');
  } else if (beaten.length === 0) {
    sentences.push(
      `FGS fails on ${percent(fgsFails, attacked)} of the images, and no other of these attacks fools any of those.`,
    );
  } else {
    const list = beaten.map(
      ({ name, found }) => `${words[name]} ${percent(found.fgsFails, fgsFails)}`,
    );
    const cause = blank > 0 ? 'masking' : 'a weakness of FGS';
    const verdict = most > fgsFails / 2 ? `: these failures are ${cause}, not robustness` : '';
    sentences.push(
      `FGS fails on ${percent(fgsFails, attacked)} of the images (${percent(blank, attacked)} have a blank gradient). Of those, ${list.join(', ')}${verdict}.`,
    );
  }
  const ahead = attacks.square?.belowPgd;
  if (ahead !== null && ahead !== undefined) {
    const share = percent(ahead, attacked);
    const few = ahead === 0 ? 'no image' : `${share} of the images only`;
    sentences.push(
      ahead / attacked < MISLED
        ? `Square needs a smaller L∞ than PGD on ${few}: the gradients that PGD follows are not masked.`
        : `Square needs a smaller L∞ than PGD on ${share} of the images: the gradients that PGD follows mislead it, or it makes too few steps.`,
    );
  }
  return sentences.join(' ');
}

/** The section for a console. */
export function maskingTable(study: MaskingStudy): string {
  return `${blankSentence(study)}\n${drawGrid(maskingGrid(study))}`;
}

/** How many gradients are blank. */
export function blankSentence({ attacked, blank }: MaskingStudy): string {
  return `${blank} of ${attacked} gradients are blank in float32`;
}

/** The table before it is drawn. */
export function maskingGrid({ fgsFails, attacks }: MaskingStudy): Grid {
  return {
    columns: [
      { title: [''], align: 'left' },
      { title: ['fooled'] },
      { title: [`of the ${fgsFails}`, 'FGS leaves'] },
      { title: ['smaller L∞', 'than FGS'] },
      { title: ['smaller L∞', 'than PGD'] },
    ],
    rows: (Object.entries(attacks) as [AttackName, MaskingOfAttack][]).map(([name, found]) => {
      const isFgs = name === 'fgs';
      const belowPgd = name === 'pgd' ? null : found.belowPgd;
      return [
        { text: ATTACKS[name].title },
        countCell(found.fooled),
        isFgs ? NOTHING : countCell(found.fgsFails),
        isFgs ? NOTHING : countCell(found.belowFgs),
        belowPgd === null ? NOTHING : countCell(belowPgd),
      ];
    }),
  };
}

/** `masking.csv`: a line for each attack, numbers of images. */
export function maskingCsv(name: string, { attacked, blank, attacks }: MaskingStudy): string {
  const lines = (Object.entries(attacks) as [AttackName, MaskingOfAttack][]).map(
    ([attack, found]) => ({
      name,
      attacked,
      blank,
      attack,
      fooled: found.fooled,
      fgs_fails: found.fgsFails,
      below_fgs: found.belowFgs,
      below_pgd: found.belowPgd ?? '',
    }),
  );
  return stringify(lines, { header: true });
}

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
