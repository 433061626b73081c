import type { AttackName } from '../attacks/attack.js';
import { meanOf } from '../base/sums.js';
import { type Evaluation, linfOrInfinity, rightOf } from './evaluation.js';
import type { Row } from './row.js';

/** Whether FGS fails because its gradient is masked; only for evaluations with a stronger attack. */
export interface MaskingStudy {
  /** Correctly classified images, and how many of them have a blank gradient. */
  attacked: number;
  blank: number;
  /** Images that FGS does not fool. */
  fgsFails: number;
  attacks: Partial<Record<AttackName, MaskingOfAttack>>;
  /** The conclusion in words: `conclusionText(concludeMasking(…))`. */
  conclusion: string;
}

/** The numbers of a study. */
export type MaskingCounts = Omit<MaskingStudy, 'conclusion'>;

/** Numbers of images. */
export interface MaskingOfAttack {
  fooled: number;
  /** Fooled by this attack but not by FGS. */
  fgsFails: number;
  /** Fooled with a smaller L∞ than FGS needs, which is infinite where FGS fails. */
  belowFgs: number;
  /** Fooled with a smaller L∞ than PGD needs; null if PGD was not run. */
  belowPgd: number | null;
  /** The same for Auto-PGD; earlier versions did not count it. */
  belowApgd?: number | null;
}

/** The attacks by gradients that Square is compared with: the first that was made counts. */
const BY_GRADIENTS = ['apgd', 'pgd'] as const;
type ByGradients = (typeof BY_GRADIENTS)[number];

/** One counts as misled if Square needs a smaller L∞ on at least this share of the images. */
const MISLED = 0.1;

/** The masking study of an evaluation; undefined without FGS. */
export function maskingStudy(evaluation: Evaluation): MaskingStudy | undefined {
  const { blank, attacks } = evaluation;
  const right = rightOf(evaluation);
  const linfOf = (name: AttackName): ((image: number) => number) | undefined => {
    const outcome = attacks.get(name);
    if (!outcome) return undefined;
    const linf = linfOrInfinity(outcome.linf);
    return (image) => linf[image];
  };
  const [fgs, pgd, apgd] = [linfOf('fgs'), linfOf('pgd'), linfOf('apgd')];
  if (!fgs) return undefined;
  const count = (holds: (image: number) => boolean): number => right.filter(holds).length;
  const each = [...attacks.keys()].map((name): [AttackName, MaskingOfAttack] => {
    const linf = linfOf(name)!;
    const found = {
      fooled: count((i) => linf(i) < Infinity),
      fgsFails: count((i) => linf(i) < Infinity && fgs(i) === Infinity),
      belowFgs: count((i) => linf(i) < fgs(i)),
      belowPgd: pgd ? count((i) => linf(i) < pgd(i)) : null,
      ...(apgd && { belowApgd: count((i) => linf(i) < apgd(i)) }),
    };
    return [name, found];
  });
  const study = {
    attacked: right.length,
    blank: count((i) => blank[i] === 1),
    fgsFails: count((i) => fgs(i) === Infinity),
    attacks: Object.fromEntries(each) as MaskingStudy['attacks'],
  };
  return { ...study, conclusion: conclusionText(concludeMasking(study)) };
}

/** The attacks that show why FGS fails, in the order in which they are mentioned. */
const WITNESSES = ['square', 'fgs-unmasked', 'apgd', 'pgd'] as const;
/** Those that are asked where these do not show it: they follow logits, which do not underflow. */
const OTHER_WITNESSES = ['deepfool-linf', 'deepfool-l2', 'hc1'] as const;
type Witness = (typeof WITNESSES | typeof OTHER_WITNESSES)[number];

/** The conclusion of a study; shares are from 0 to 1. */
export interface MaskingConclusion {
  /** Shares of the attacked images that FGS does not fool, and whose gradient is blank. */
  fails: number;
  blank: number;
  /** The share of the images FGS does not fool that each of these attacks fools, if above 0. */
  witnesses: { attack: Witness; share: number }[];
  /**
   * Why FGS fails, if another attack fools more than half of the images FGS does not; null otherwise. It is masking if
   * at least half of these have a blank gradient.
   */
  cause: 'masking' | 'weakness' | null;
  /**
   * The share of images on which Square needs a smaller L∞ than APGD or PGD, whether that counts as misled, and the share
   * that Square fools at all.
   */
  square: { ahead: number; misled: boolean; than: ByGradients; fooled: number } | null;
}

/** Draws the conclusion; undefined if no image was attacked. */
export function concludeMasking({
  attacked,
  blank,
  fgsFails,
  attacks,
}: MaskingCounts): MaskingConclusion | undefined {
  if (attacked === 0) return undefined;
  type Witnesses = MaskingConclusion['witnesses'];
  const among = (names: readonly Witness[]): Witnesses =>
    names.flatMap((attack) => {
      const fooled = attacks[attack]?.fgsFails ?? 0;
      return fgsFails > 0 && fooled > 0 ? [{ attack, share: fooled / fgsFails }] : [];
    });
  const explain = (some: Witnesses): boolean => some.some(({ share }) => share > 1 / 2);
  const first = among(WITNESSES);
  const witnesses = explain(first) ? first : [...first, ...among(OTHER_WITNESSES)];
  const isExplained = explain(witnesses);
  const ahead = { apgd: attacks.square?.belowApgd ?? null, pgd: attacks.square?.belowPgd ?? null };
  const than = BY_GRADIENTS.find((name) => ahead[name] !== null);
  const share = than === undefined ? 0 : ahead[than]! / attacked;
  return {
    fails: fgsFails / attacked,
    blank: blank / attacked,
    witnesses,
    cause: isExplained ? (explains(blank, fgsFails) ? 'masking' : 'weakness') : null,
    square:
      than === undefined
        ? null
        : {
            ahead: share,
            misled: share >= MISLED,
            than,
            fooled: attacks.square!.fooled / attacked,
          },
  };
}

const WITNESS_WORDS: Record<Witness, string> = {
  square: 'Square, which sees no gradients, fools',
  'fgs-unmasked': 'FGS on the gradient of the log-odds, which cannot underflow, fools',
  apgd: 'Auto-PGD fools',
  pgd: 'PGD fools',
  'deepfool-linf': 'DeepFool L∞ fools',
  'deepfool-l2': 'DeepFool L2 fools',
  hc1: 'HC1 fools',
};

const GRADIENT_WORDS: Record<ByGradients, string> = { apgd: 'Auto-PGD', pgd: 'PGD' };

/** The conclusion in sentences, for `result.json`. */
export function conclusionText(conclusion: MaskingConclusion | undefined): string {
  if (!conclusion) return 'No image is classified correctly, so nothing was attacked.';
  const { fails, blank, witnesses, cause, square } = conclusion;
  const sentences = [failureSentence(fails, blank, witnesses, cause)];
  if (square) {
    const share = percent(square.ahead);
    const than = GRADIENT_WORDS[square.than];
    const few = square.ahead === 0 ? 'no image' : `${share} of the images only`;
    sentences.push(
      square.misled
        ? `Square needs a smaller L∞ than ${than} on ${share} of the images: the gradients that ${than} follows mislead it, or it makes too few steps.`
        : `Square needs a smaller L∞ than ${than} on ${few}: ${
            square.fooled > 1 / 2
              ? `no sign that the gradients that ${than} follows are masked.`
              : `it fools only ${percent(square.fooled)}, too few to tell whether the gradients that ${than} follows are masked.`
          }`,
    );
  }
  return sentences.join(' ');
}

function failureSentence(
  fails: number,
  blank: number,
  witnesses: MaskingConclusion['witnesses'],
  cause: MaskingConclusion['cause'],
): string {
  if (fails === 0) return 'FGS fools every image.';
  if (witnesses.length === 0) {
    return `FGS fails on ${percent(fails)} of the images, and no other of these attacks fools any of those.`;
  }
  const list = witnesses.map(({ attack, share }) => `${WITNESS_WORDS[attack]} ${percent(share)}`);
  const because = cause === 'masking' ? 'masking' : 'a weakness of FGS';
  const verdict = cause === null ? '' : `: these failures are ${because}, not robustness`;
  return `FGS fails on ${percent(fails)} of the images (${percent(blank)} have a blank gradient). Of those, ${list.join(', ')}${verdict}.`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** What the FGS rate hides: percentages of the correctly classified images, means over seeds. */
export interface HiddenByFgs {
  blank: number;
  fgs: number;
  unmasked: number;
}

/** Rates that differ by no more than this, in percentage points, count as equal. */
const SAME = 1;

/** How to read the FGS column. */
export type FgsReading = 'nothing succeeds' | 'as it stands' | 'weak' | 'no matter' | 'masked';

/** How these rates say to read the FGS column. */
export function readingOf({ blank, fgs, unmasked }: HiddenByFgs): FgsReading {
  if (fgs === 0 && unmasked === 0) return 'nothing succeeds';
  if (unmasked > fgs && explains(blank, 100 - fgs)) return 'masked';
  if (unmasked > fgs + SAME) return 'weak';
  return blank > 0 ? 'no matter' : 'as it stands';
}

/** Whether blank gradients are why FGS fails: it fails wherever one is, and elsewhere for other reasons. */
export function explains(blank: number, fails: number): boolean {
  return blank > 0 && 2 * blank >= fails;
}

/** What the FGS rate hides, from one row per seed; undefined if nothing was measured. */
export function hiddenByFgs(rows: readonly Row[]): HiddenByFgs | undefined {
  const each = rows.flatMap(({ blank, correct, attacks }): HiddenByFgs[] => {
    const { fgs, 'fgs-unmasked': unmasked } = attacks;
    if (!fgs || !unmasked || correct === 0) return [];
    return [{ blank: (100 * blank) / correct, fgs: fgs.rate, unmasked: unmasked.rate }];
  });
  if (each.length === 0) return undefined;
  const mean = (key: keyof HiddenByFgs): number => meanOf(each.map((one) => one[key]));
  return { blank: mean('blank'), fgs: mean('fgs'), unmasked: mean('unmasked') };
}
