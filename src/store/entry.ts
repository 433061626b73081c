import { PROTOCOL, type Protocol } from '../attacks/attack.js';
import {
  difference,
  figuresOf,
  outsideSeeds,
  publishedFigures,
  spreadOverSeeds,
  type Figure,
  type FigureName,
  type Figures,
} from '../metrics/figures.js';
import type { PublishedRow } from '../paper/published.js';
import type { Row } from '../metrics/row.js';

/** One experiment in a table: its own lines and, where its row is in the paper, the paper's. */
export interface Entry {
  /** Empty for an experiment that has not been run. */
  name: string;
  /** In what it is unlike the published rows: the protocol, the number of images. */
  labels: string[];
  /** A number, or one for each layer; empty for regular training. */
  beta: string;
  epsilon: string;
  /** One for each seed; none of an experiment that has not been run. */
  rows: Row[];
  /** What is known of them. */
  seeds: number[];
  published?: PublishedRow | undefined;
}

/** A line of a table as texts, whatever it is drawn with. */
export interface Line {
  kind: 'ours' | 'seeds' | 'published' | 'difference';
  name: string;
  labels: string[];
  beta: string;
  epsilon: string;
  cells: Cell[];
}

export interface Cell {
  text: string;
  /** `± 0.1079`, the deviation that belongs to the figure. */
  spread?: string;
  /** The figure that the texts are of; absent where there is none. */
  figure?: Figure;
}

/** The columns of figures: those of the paper's tables and, behind them, FGS unmasked. */
export const COLUMNS: readonly { figure: FigureName; title: string[]; digits: number }[] = [
  { figure: 'accuracy', title: ['Accuracy', '%'], digits: 2 },
  { figure: 'fgs_rate', title: ['FGS-Rate', '%'], digits: 2 },
  { figure: 'fgs_pass', title: ['FGS-PASS'], digits: 4 },
  { figure: 'fgs_linf', title: ['FGS-L∞', 'pixels'], digits: 2 },
  { figure: 'hc1_rate', title: ['HC1-Rate', '%'], digits: 2 },
  { figure: 'hc1_pass', title: ['HC1-PASS'], digits: 4 },
  { figure: 'hc1_linf', title: ['HC1-L∞', 'pixels'], digits: 2 },
  { figure: 'fgs_unmasked_rate', title: ['unmasked', 'FGS-Rate', '%'], digits: 2 },
  { figure: 'fgs_unmasked_linf', title: ['unmasked', 'FGS-L∞', 'pixels'], digits: 2 },
];

/** How many images the published rows are of. */
const PUBLISHED_IMAGES = 10_000;

export function labelsOf({ protocol, images }: Row): string[] {
  const name = protocolName(protocol);
  const labels: string[] = [];
  if (name === undefined) labels.push(`${protocol.search}, channels ${protocol.channels}`);
  else if (name !== 'paper') labels.push(`protocol ${name}`);
  if (images !== PUBLISHED_IMAGES) labels.push(`${images} images`);
  return labels;
}

/** An experiment's lines: ours, the spread over seeds, the published one, the difference. */
export function linesOf({ name, labels, beta, epsilon, rows, published }: Entry): Line[] {
  const none = { labels: [], beta: '', epsilon: '' };
  const ours = figuresOf(rows);
  const lines: Line[] = [
    {
      kind: 'ours',
      name: rows.length === 0 ? 'no run yet' : name,
      labels,
      beta: beta || '–',
      epsilon: epsilon || '–',
      cells: cellsOf(ours),
    },
  ];
  if (rows.length > 1) {
    const spread = spreadOverSeeds(rows);
    const cells = COLUMNS.map(({ figure, digits }) => {
      const over = spread[figure];
      if (!over) return { text: '–' };
      const fewer = over.seeds < rows.length ? ` (${over.seeds})` : '';
      const text = `±${over.value.toFixed(digits)}${fewer}`;
      return { text, figure: { value: over.value } };
    });
    lines.push({ ...none, kind: 'seeds', name: `over ${rows.length} seeds`, cells });
  }
  if (!published) return lines;
  const theirs = publishedFigures(published);
  lines.push({
    kind: 'published',
    name: `published ${published.id}`,
    labels: [],
    beta: published.beta === null ? '–' : String(published.beta),
    epsilon: published.epsilon === null ? '–' : String(published.epsilon),
    cells: cellsOf(theirs),
  });
  if (rows.length === 0) return lines;
  const [apart, outside] = [difference(ours, theirs), outsideSeeds(rows, published)];
  const cells = COLUMNS.map(({ figure, digits }) => {
    const found = apart[figure];
    const mark = outside.has(figure) ? '* ' : '';
    if (!found) return { text: '–' };
    return { text: `${mark}${signed(found.value, digits)}`, figure: found };
  });
  lines.push({ ...none, kind: 'difference', name: 'difference', cells });
  return lines;
}

function cellsOf(figures: Figures): Cell[] {
  return COLUMNS.map(({ figure, digits }) => {
    const found = figures[figure];
    if (!found) return { text: '–' };
    const text = fixed(found.value, digits);
    if (found.std === undefined) return { text, figure: found };
    return { text, spread: `± ${fixed(found.std, digits)}`, figure: found };
  });
}

/** Without the sign of a zero. */
function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text;
}

function signed(value: number, digits: number): string {
  const text = fixed(value, digits);
  return Number(text) > 0 ? `+${text}` : text;
}

/** What the signs of a table mean, as far as they are in it. */
export function legendOf(entries: readonly Entry[]): string[] {
  const several = entries.filter(({ rows }) => rows.length > 1);
  const legend = ['± and what follows it is the standard deviation over images, as in the paper.'];
  if (several.length > 0) {
    legend[0] =
      '± and what follows it is the standard deviation over images, as in the paper; it and the figures are means over seeds.';
    legend.push(
      '"over N seeds" is the sample standard deviation (n − 1) of the figure above; (n) if only n seeds have it.',
    );
  }
  if (several.some(({ rows, published }) => published && outsideSeeds(rows, published).size > 0)) {
    legend.push('* marks what is published further from ours than two of these deviations.');
  }
  legend.push('difference is ours minus published; – is not measured, or nothing to measure.');
  return legend;
}

/** How the attacks went along their lines, a sentence for each way. */
export function protocolSentences(entries: readonly Entry[]): string[] {
  const rows = entries.flatMap((entry) => entry.rows.slice(0, 1));
  return [...new Set(rows.map(({ protocol }) => protocolSentence(protocol)))];
}

function protocolSentence(protocol: Protocol): string {
  const { search, channels } = protocol;
  const searched = search === 'scan' ? 'exhaustive scan' : 'doubling and bisection';
  return `Protocol ${protocolName(protocol) ?? 'of its own'}: ${searched}; colour channels of the direction ${channels}.`;
}

function protocolName({ search, channels }: Protocol): keyof typeof PROTOCOL | undefined {
  return (Object.keys(PROTOCOL) as (keyof typeof PROTOCOL)[]).find(
    (key) => PROTOCOL[key].search === search && PROTOCOL[key].channels === channels,
  );
}

/** A name as it can be printed: nothing in it that a terminal would obey. */
export function printable(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}

/** The same of a text of several lines: what comes from files and from a queue may be in it. */
export function printableText(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
