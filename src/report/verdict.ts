import { AUTO, effortOf, type GivenEffort } from '../attacks/attack.js';
import { groupedBy } from '../base/groups.js';
import { extentOf } from '../base/sums.js';
import { capitalised, counted, signed } from '../base/text.js';
import { type Config, trainingInWords } from '../config/experiment.js';
import {
  commonBudgets,
  compareStanding,
  compareUnderNoise,
  misleads,
  standingOf,
  strengthOf,
  tellingBudget,
  type Comparison,
  type Standing,
} from '../metrics/verdict.js';
import type { CollectedPart } from '../store/collect.js';
import type { Entry } from '../store/entry.js';
import { type NoiseResult, quotedNoise } from '../store/noise.js';
import type { MeasuredQuantity } from '../metrics/quantities.js';
import { isFull } from '../paper/compare.js';
import { shortKeys } from '../config/points.js';
import {
  axisText,
  bestOf,
  pointsOf,
  progressText,
  robustnessAxis,
  type SweepCell,
} from '../sweep/summary.js';
import { isScatter, type Trend, trendsOf } from '../sweep/trends.js';

/** How a network was trained, as far as its config or its row in the paper tells: in words, if in another way. */
export type Training = 'regular' | 'BANG' | (string & {});

/** Of weights from elsewhere. */
const UNKNOWN: Training = 'training not known';

export interface Judged {
  entry: Entry;
  training: Training;
  standing: Standing;
}

/** What is left of the networks of a table, and what that says. */
export interface TableVerdict {
  title: string;
  judged: Judged[];
  /** L∞ in grey levels; null: any. */
  budget: number | null;
  /** The verdict in a few words. */
  headline: string;
  sentences: string[];
}

/**
 * The verdict on a table. If robust accuracy is known of some of its networks, it is on these, else on all that
 * were attacked; of these, on the most that were attacked alike on the same images. Undefined if none was.
 */
export function verdictOf({ title, entries, groups }: CollectedPart): TableVerdict | undefined {
  const known = entries.flatMap((entry, i) => {
    if (entry.rows.length === 0) return [];
    const [{ result }] = groups[i];
    const { config, data } = result;
    return [
      {
        entry,
        training: trainingOfEntry(entry, config),
        data: data.sha256,
        effort: effortIn(entry, config.evaluation ?? {}),
      },
    ];
  });
  const robust = known.filter(({ entry }) => entry.rows.every((row) => strengthOf(row) !== ''));
  const chosen = sharingBudget(alike(robust.length > 0 ? robust : withoutSubsets(known)));
  const budget = tellingBudget(chosen.flatMap(({ entry }) => entry.rows));
  const judged = chosen
    .map(({ entry, training }): Judged => {
      return { entry, training, standing: standingOf(entry.rows, budget) };
    })
    .filter(({ standing: { fgs, unmasked, worst } }) =>
      [fgs, unmasked, worst].some((x) => x !== undefined),
    );
  if (judged.length === 0) return undefined;
  return { title, judged, budget, ...wordsOf(judged, budget) };
}

/** How much effort the attacks made that are stronger than the paper's, as a key. */
function effortIn({ rows }: Entry, evaluation: GivenEffort): string {
  const attacks = new Set(rows.flatMap((row) => strengthOf(row).split(' ')));
  const { pgd, apgd, square } = effortOf(evaluation);
  return JSON.stringify([
    attacks.has('pgd') && pgd,
    (attacks.has('apgd') || attacks.has(AUTO)) && apgd,
    (attacks.has('square') || attacks.has(AUTO)) && square,
  ]);
}

/** The largest group on the same images against the same attacks; one with `auto`, if there is any. */
function alike<T extends { entry: Entry; data: string; effort: string }>(
  all: readonly T[],
): readonly T[] {
  const groups = groupedBy(all, ({ entry, data, effort }) => {
    const strengths = new Set(entry.rows.map(strengthOf));
    return JSON.stringify([[...strengths].sort().join(), data, effort]);
  });
  const hasAuto = ([{ entry }]: readonly T[]): number => +(strengthOf(entry.rows[0]) === AUTO);
  const [most = []] = [...groups.values()].sort(
    (a, b) => hasAuto(b) - hasAuto(a) || b.length - a.length,
  );
  return most;
}

/** The most that have a budget in common, if any has one. */
function sharingBudget<T extends { entry: Entry }>(all: readonly T[]): readonly T[] {
  const budgetsOf = ({ entry }: T): number[] => commonBudgets(entry.rows);
  const groups = [...new Set(all.flatMap(budgetsOf))].map((budget) =>
    all.filter((one) => budgetsOf(one).includes(budget)),
  );
  return groups.sort((a, b) => b.length - a.length).at(0) ?? all;
}

/** Only what was measured as in the paper, if anything was. */
function withoutSubsets<T extends { entry: Entry }>(all: readonly T[]): readonly T[] {
  const full = all.filter(({ entry }) => isFull(entry));
  return full.length > 0 ? full : all;
}

function trainingOfEntry({ published }: Entry, { training }: Partial<Config>): Training {
  if (training) return trainingInWords(training);
  if (!published) return UNKNOWN;
  return published.beta === null ? 'regular' : 'BANG';
}

function wordsOf(
  judged: readonly Judged[],
  budget: number | null,
): Pick<TableVerdict, 'headline' | 'sentences'> {
  const of = (training: Training): Judged[] => judged.filter((one) => one.training === training);
  const bang = of('BANG');
  // With several regular trainings, the first in the paper's order, of which the training is known.
  const regular = of('regular').find(({ entry }) => entry.seeds.length > 0) ?? of('regular').at(0);
  const subject = bang.length > 0 ? bang : judged;
  const compared =
    regular && budget !== null
      ? bang.flatMap(({ standing }) => compareStanding(standing, regular.standing) ?? [])
      : [];
  return {
    headline: headlineOf(subject, compared, bang.length > 0 ? 'BANG' : undefined),
    sentences: [
      ...leftSentence(subject, bang.length > 0 ? 'BANG' : networksInWords(judged), budget),
      ...(regular && bang.length > 0 ? besideSentence(bang, regular, budget) : []),
      ...(compared.length > 0 ? seedsSentence([...bang, ...(regular ? [regular] : [])]) : []),
      ...othersSentence(judged, budget),
      ...(budget === null ? [weakAttacksSentence(judged)] : []),
    ],
  };
}

/** Networks none of which is trained with BANG. */
function networksInWords(judged: readonly Judged[]): string {
  const [{ training }] = judged;
  const isOne = training !== UNKNOWN && judged.every((one) => one.training === training);
  if (isOne) return 'this training';
  return judged.length === 1 ? 'this network' : 'these networks';
}

function headlineOf(
  subject: readonly Judged[],
  compared: readonly Comparison[],
  who: 'BANG' | undefined,
): string {
  const reasons = subject.map(({ standing }) => misleads(standing));
  const reason = (['masked', 'weak'] as const).find((one) => reasons.includes(one));
  if (compared.length === 0) {
    const about = who === undefined ? '' : ' about BANG';
    if (reason === 'masked') return `FGS misleads${about}: its gradients are masked`;
    if (reason === 'weak') return `FGS misleads${about}: unmasked FGS leaves much less`;
    const isKnown = ({ standing: { fgs, unmasked } }: Judged): boolean =>
      fgs !== undefined && unmasked !== undefined;
    const [fgs, worst] = [rangeOf(subject, 'fgs'), rangeOf(subject, 'worst')];
    if (worst !== undefined) {
      return fgs === undefined
        ? `The worst attack leaves ${worst}`
        : `FGS leaves ${fgs}, the worst attack ${worst}`;
    }
    return subject.some(isKnown)
      ? 'FGS says what unmasked FGS says'
      : 'One attack alone does not tell what is masked';
  }
  const says =
    reason === undefined
      ? ''
      : reason === 'masked'
        ? 'what FGS says of it is masking'
        : 'FGS says more than unmasked FGS';
  const all = (...wanted: Comparison[]): boolean => compared.every((one) => wanted.includes(one));
  const verdict = all('less')
    ? 'BANG is less robust than regular training'
    : all('as much', 'less')
      ? 'BANG is no more robust than regular training'
      : all('more')
        ? 'BANG is more robust than regular training'
        : all('unclear')
          ? `${subject[0].standing.images} images show no difference between BANG and regular training`
          : compared.includes('more')
            ? 'BANG is not always more robust than regular training'
            : 'BANG is nowhere shown to be more robust than regular training';
  if (says === '') return verdict;
  return all('more') ? `${verdict}, but far less than FGS says` : `${verdict}: ${says}`;
}

/** `FGS leaves 93.2 to 97.7 %`. */
function rangeOf(judged: readonly Judged[], of: 'fgs' | 'unmasked' | 'worst'): string | undefined {
  const values = judged.flatMap(({ standing }) => standing[of] ?? []);
  if (values.length === 0) return undefined;
  const [least, most] = extentOf(values).map((x) => x.toFixed(1));
  return least === most ? `${most} %` : `${least} to ${most} %`;
}

function leftSentence(judged: readonly Judged[], who: string, budget: number | null): string[] {
  const [fgs, unmasked, worst] = (['fgs', 'unmasked', 'worst'] as const).map((of) =>
    rangeOf(judged, of),
  );
  const within = budget === null ? 'At any L∞' : `At L∞ ≤ ${budget} grey levels`;
  const parts = [
    ...(fgs === undefined ? [] : [`FGS says that ${fgs} of all test images withstand`]),
    ...(unmasked === undefined
      ? []
      : [`FGS along a gradient that cannot underflow leaves ${unmasked}`]),
    ...(worst === undefined ? [] : [`the worst attack leaves ${worst}`]),
  ];
  return parts.length === 0 ? [] : [`${within}, of ${who}: ${parts.join('; ')}.`];
}

function besideSentence(bang: readonly Judged[], regular: Judged, budget: number | null): string[] {
  const key = budget === null ? 'unmasked' : 'worst';
  const [ours, theirs] = [rangeOf(bang, key), rangeOf([regular], key)];
  if (ours === undefined || theirs === undefined) return [];
  const attack = budget === null ? 'unmasked FGS' : 'the worst attack';
  const says = rangeOf([regular], 'fgs');
  const fgs = says === undefined ? '' : ` (FGS: ${says})`;
  return [`Of regular training, ${attack} leaves ${theirs}${fgs}.`];
}

/** That a training of another seed is another network, where one seed stands for all. */
function seedsSentence(compared: readonly Judged[]): string[] {
  const single = compared.filter(({ standing }) => standing.seeds === 1);
  if (single.length === 0) return [];
  const which =
    single.length === compared.length
      ? 'Each network is'
      : `${single.length} of ${compared.length} networks are`;
  return [
    `${which} of one training, whose scatter is not known: another seed may change the order.`,
  ];
}

/** That no attack was made in L∞ that tells how robust a network is. */
function weakAttacksSentence(judged: readonly Judged[]): string {
  const inL2 = judged.some(({ entry }) => entry.rows.some(({ atBudgets }) => atBudgets));
  const alone = 'FGS and unmasked FGS alone do not tell how robust a network is';
  return inL2
    ? `Stronger attacks were made in L2 only; in L∞, ${alone}.`
    : `${alone}: evaluate with stronger attacks, such as apgd or pgd and square.`;
}

/** What is left of the networks that were trained in neither way. */
function othersSentence(judged: readonly Judged[], budget: number | null): string[] {
  const others = judged.filter(({ training }) => training !== 'BANG' && training !== 'regular');
  const key = budget === null ? 'unmasked' : 'worst';
  const parts = others.flatMap((one) => {
    const left = rangeOf([one], key);
    const how = one.training === UNKNOWN ? UNKNOWN : `trained with ${one.training}`;
    return left === undefined ? [] : [`${left} of ${one.entry.name}, ${how}`];
  });
  if (parts.length === 0) return [];
  return [`${budget === null ? 'Unmasked FGS' : 'The worst attack'} leaves ${parts.join('; ')}.`];
}

const UNDER_NOISE: Record<Comparison, string> = {
  less: 'BANG withstands random noise better than regular training',
  more: 'BANG withstands random noise less well than regular training',
  'as much': 'BANG withstands random noise as well as regular training',
  unclear: 'Too few images to tell which training withstands random noise better',
};

/** A noise study in a few words, and in a sentence: at the σ that the paper quotes, else at the largest. */
export function noiseVerdict(result: NoiseResult): {
  headline: string;
  sentence: string;
} {
  const { rows } = result;
  const quoted = quotedNoise(result);
  const [largest] = rows.toSorted((a, b) => b.sigma - a.sigma);
  const row = rows.find(({ sigma }) => sigma === quoted?.sigma) ?? largest;
  const { regular, bang } = row.networks;
  const { value, overImages } = row.difference;
  const found = compareUnderNoise(row);
  const error = overImages === null ? '' : ` ± ${overImages.toFixed(1)}`;
  const paper =
    quoted?.sigma === row.sigma
      ? `; the paper has ${quoted.regularPercent} % and ${quoted.bangPercent} %`
      : '';
  return {
    headline: found
      ? UNDER_NOISE[found]
      : 'This noise is too weak to tell which training withstands it better',
    sentence: `Noise of σ ${row.sigma} grey levels misleads regular training on ${regular.rate.toFixed(1)} % of the distorted images and BANG on ${bang.rate.toFixed(1)} %, a difference of ${signed(value, 1)}${error} points${paper}.`,
  };
}

/** A sweep in a few words, and in sentences: how its points stand to the reference, and what its keys explain. */
export function sweepVerdict(
  keys: readonly string[],
  cells: readonly SweepCell[],
): { headline: string; sentences: string[] } {
  const all = pointsOf(cells);
  const points = all.filter(({ reference, rows }) => !reference && rows.length > 0);
  if (points.length === 0) return { headline: progressText(cells), sentences: [] };
  const { keys: varied, trends } = trendsOf(keys, all) ?? { keys: [], trends: [] };
  const names = shortKeys(varied.map(({ key }) => key)).join(' and ');
  const trend = (wanted: MeasuredQuantity) => trends.find(({ quantity }) => quantity === wanted);
  const axis = robustnessAxis(points);
  const [accuracy, robustness] = [trend('accuracy'), trend(axis)];
  const above = (one: Trend | undefined, what: string): string[] =>
    one?.reference === undefined
      ? []
      : [
          `${what} than the reference (${one.reference.value.toFixed(2)}): ${one.reference.above} of ${counted(one.points, 'point')}`,
        ];
  const compared = [
    ...above(accuracy, 'A higher accuracy'),
    ...above(
      robustness,
      axis === 'fgs_unmasked_linf'
        ? 'a larger mean L∞ of unmasked FGS'
        : `a higher ${axisText(axis)}`,
    ),
  ];
  const explained = robustness?.explained;
  const headline =
    explained === undefined
      ? progressText(cells)
      : isScatter(explained)
        ? `No plane over ${names} describes ${axisText(axis)}`
        : `${names} ${varied.length > 1 ? 'decide' : 'decides'} much of ${axisText(axis)}`;
  return {
    headline,
    sentences: [
      ...(compared.length === 0 ? [] : [`${compared.join('; ')}.`]),
      ...(explained === undefined
        ? []
        : [
            `A plane over ${names} explains ${(100 * explained).toFixed(0)} % of its variance${isScatter(explained) ? '; the rest is curvature or scatter' : ''}.`,
          ]),
      ...(explained === undefined ? bestOf(keys, points) : []).map(
        (best) => `${capitalised(best)}.`,
      ),
    ],
  };
}
