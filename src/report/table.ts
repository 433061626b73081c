import Table from 'cli-table3';
import type { Spread } from '../metrics/summary.js';
import { PROTOCOL } from '../attacks/attack.js';
import type { PublishedRow } from './published.js';
import type { AttackSummary, Row } from './result.js';

/** What one line of a table shows: ours, the published one, or their difference. */
export interface TableLine {
  id: string;
  beta: string;
  epsilon: string;
  figures: Figures;
}

/** The figures of one line; null where there is none. */
export interface Figures {
  accuracy: number | null;
  fgs: AttackFigures;
  hc1: AttackFigures;
  unmasked: AttackFigures;
}

export interface AttackFigures {
  rate: number | null;
  pass: Spread | null;
  linf: Spread | null;
}

const NOTHING: AttackFigures = { rate: null, pass: null, linf: null };

export function figuresOf({ accuracy, attacks }: Row): Figures {
  const of = (summary?: AttackSummary): AttackFigures =>
    summary ? { rate: summary.rate, pass: summary.pass, linf: summary.linf } : NOTHING;
  return {
    accuracy,
    fgs: of(attacks.fgs),
    hc1: of(attacks.hc1),
    unmasked: of(attacks['fgs-unmasked']),
  };
}

export function publishedFigures({ accuracy, fgs, hc1 }: PublishedRow): Figures {
  const of = (a: PublishedRow['fgs']): AttackFigures => ({
    rate: a.rate,
    pass: { mean: a.passMean, std: a.passStd },
    linf: { mean: a.linfMean, std: a.linfStd },
  });
  return { accuracy, fgs: of(fgs), hc1: of(hc1), unmasked: NOTHING };
}

/** Ours minus published, of means and of deviations. */
export function difference(ours: Figures, published: Figures): Figures {
  const minus = (a: number | null, b: number | null): number | null =>
    a === null || b === null ? null : a - b;
  const spread = (a: Spread | null, b: Spread | null): Spread | null =>
    a && b ? { mean: a.mean - b.mean, std: a.std - b.std } : null;
  const attack = (a: AttackFigures, b: AttackFigures): AttackFigures => ({
    rate: minus(a.rate, b.rate),
    pass: spread(a.pass, b.pass),
    linf: spread(a.linf, b.linf),
  });
  return {
    accuracy: minus(ours.accuracy, published.accuracy),
    fgs: attack(ours.fgs, published.fgs),
    hc1: attack(ours.hc1, published.hc1),
    unmasked: NOTHING,
  };
}

/** One experiment's lines: its own and, where its row is in the paper, that and the difference. */
export interface Entry {
  name: string;
  beta: string;
  epsilon: string;
  row: Row;
  published?: PublishedRow | undefined;
}

/** The columns of the paper's tables and, behind them, FGS on the unmasked gradient. */
const HEAD = [
  '',
  'β',
  'ε',
  'Accuracy\n%',
  'FGS-Rate\n%',
  'FGS-PASS',
  'FGS-L∞\npixels',
  'HC1-Rate\n%',
  'HC1-PASS',
  'HC1-L∞\npixels',
  'unmasked\nFGS-Rate\n%',
  'unmasked\nFGS-L∞\npixels',
];

/** The console table, in the layout of the paper's Tables 1 and 2. */
export function consoleTable(entries: Entry[]): string {
  const table = new Table({
    head: HEAD,
    style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
    colAligns: ['left', ...HEAD.slice(1).map(() => 'right' as const)],
  });
  for (const { name, beta, epsilon, row, published } of entries) {
    const ours = figuresOf(row);
    table.push([name, beta, epsilon, ...cells(ours)]);
    if (!published) continue;
    const theirs = publishedFigures(published);
    table.push([
      `published ${published.id}`,
      published.beta === null ? '–' : String(published.beta),
      published.epsilon === null ? '–' : String(published.epsilon),
      ...cells(theirs),
    ]);
    table.push(['difference', '', '', ...cells(difference(ours, theirs), true)]);
  }
  return table.toString();
}

function cells({ accuracy, fgs, hc1, unmasked }: Figures, signed = false): string[] {
  const number = (value: number | null, digits: number): string => {
    if (value === null) return '–';
    const text = value.toFixed(digits);
    return signed && value >= 0 ? `+${text}` : text;
  };
  const spread = (value: Spread | null, digits: number): string => {
    if (!value) return '–';
    const mean = number(value.mean, digits);
    return signed ? mean : `${mean}\n± ${value.std.toFixed(digits)}`;
  };
  return [
    number(accuracy, 2),
    number(fgs.rate, 2),
    spread(fgs.pass, 4),
    spread(fgs.linf, 2),
    number(hc1.rate, 2),
    spread(hc1.pass, 4),
    spread(hc1.linf, 2),
    number(unmasked.rate, 2),
    spread(unmasked.linf, 2),
  ];
}

/** How the attacks of a row went along their lines, in words. */
export function protocolSentence({ protocol: { search, channels } }: Row): string {
  const name = (Object.keys(PROTOCOL) as (keyof typeof PROTOCOL)[]).find(
    (key) => PROTOCOL[key].search === search && PROTOCOL[key].channels === channels,
  );
  const searched = search === 'scan' ? 'exhaustive scan' : 'doubling and bisection';
  return `Protocol ${name ?? 'of its own'}: ${searched}; colour channels of the direction ${channels}.`;
}

/** What the FGS column hides, in one sentence; undefined where nothing was measured. */
export function maskingSentence({ blank, correct, attacks }: Row): string | undefined {
  const { fgs, 'fgs-unmasked': unmasked } = attacks;
  if (!fgs || !unmasked || correct === 0) return undefined;
  const share = ((100 * blank) / correct).toFixed(1);
  if (blank === 0) return `No gradient is blank in float32: FGS-Rate can be read as it stands.`;
  if (unmasked.rate <= fgs.rate) {
    return `The gradients of ${share} % of the images are blank in float32, but FGS does not succeed more often on the gradient of the log-odds, which cannot underflow (${unmasked.rate.toFixed(2)} %).`;
  }
  return (
    `FGS-Rate counts ${share} % of the images as robust because their float32 loss gradient is blank; ` +
    `on the gradient of the log-odds, which cannot underflow, FGS succeeds on ${unmasked.rate.toFixed(2)} %, not ${fgs.rate.toFixed(2)} %.`
  );
}
