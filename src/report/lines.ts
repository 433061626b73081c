import { NORM_TITLES, type Protocol } from '../attacks/attack.js';
import { fixed, signed } from '../base/text.js';
import {
  measuresOf,
  quantity,
  robustAccuraciesOf,
  spreadOverSeeds,
  type Measured,
  type MeasuredQuantity,
  type Measures,
  type TableQuantity,
} from '../metrics/quantities.js';
import { difference, outsiders, outsideSeeds, publishedMeasures } from '../paper/compare.js';
import type { Row } from '../metrics/row.js';
import { OTHER_DATA, protocolName, type Entry } from '../store/entry.js';

/** A line of a table as texts, for any output format. */
export interface Line {
  kind: 'ours' | 'seeds' | 'published' | 'difference';
  name: string;
  labels: string[];
  beta: string;
  epsilon: string;
  cells: NumberCell[];
}

export interface NumberCell {
  text: string;
  /** The deviation of the number, such as `± 0.1079`. */
  spread?: string;
  /** The number behind the texts, if there is one. */
  measured?: Measured;
}

/** A column of a table. */
export interface QuantityColumn<Name = MeasuredQuantity> {
  quantity: Name;
  title: string[];
  digits: number;
}

/** The columns of the tables: those of the paper and, after them, unmasked FGS. */
export const COLUMNS: readonly QuantityColumn<TableQuantity>[] = (
  [
    ['accuracy', 'Accuracy'],
    ['fgs_rate', 'FGS-Rate'],
    ['fgs_pass', 'FGS-PASS'],
    ['fgs_linf', 'FGS-L∞'],
    ['hc1_rate', 'HC1-Rate'],
    ['hc1_pass', 'HC1-PASS'],
    ['hc1_linf', 'HC1-L∞'],
    ['fgs_unmasked_rate', 'unmasked', 'FGS-Rate'],
    ['fgs_unmasked_linf', 'unmasked', 'FGS-L∞'],
  ] as const
).map(([name, ...title]) => column(name, title));

function column<Name extends MeasuredQuantity>(name: Name, title: string[]): QuantityColumn<Name> {
  const { unit, digits } = quantity(name);
  return { quantity: name, title: [...title, ...unit.split(' ').filter(Boolean)], digits };
}

/** The columns of a table of experiments: what was measured in any run; all if there is no run yet. */
export function tableColumns(entries: readonly Entry[]): QuantityColumn<TableQuantity>[] {
  const rows = entries.flatMap((entry) => entry.rows);
  if (rows.length === 0) return [...COLUMNS];
  return COLUMNS.filter((column) => {
    const { attack, ofPass } = quantity(column.quantity);
    if (attack === undefined) return true;
    return rows.some(({ attacks }) => {
      const summary = attacks[attack];
      return summary && (!ofPass || summary.aligned !== null);
    });
  });
}

/** COLUMNS, and a column for each accuracy within a budget that the rows have. */
export function columnsOf(rows: readonly Row[]): QuantityColumn[] {
  return [...COLUMNS, ...robustAccuraciesOf(rows).map(columnOf)];
}

/** The column of one quantity. */
export function columnOf(name: MeasuredQuantity): QuantityColumn {
  const { within } = quantity(name);
  return within
    ? column(name, ['accuracy', `${NORM_TITLES[within.norm]} ≤ ${within.budget}`])
    : COLUMNS.find((one) => one.quantity === name)!;
}

/**
 * An experiment's lines: ours, the spread over seeds, the published one, the difference. Their cells are those of
 * {@link tableColumns}.
 *
 * @param among all experiments of the table
 */
export function linesOf(entry: Entry, among: readonly Entry[]): Line[] {
  const { name, labels, departs, beta, epsilon, rows, published } = entry;
  const none = { labels: [], beta: '', epsilon: '' };
  const columns = tableColumns(among);
  const ours = measuresOf(rows);
  const lines: Line[] = [
    {
      kind: 'ours',
      name: rows.length === 0 ? 'no run yet' : name,
      labels,
      beta: beta || '–',
      epsilon: epsilon || '–',
      cells: cellsOf(ours, columns),
    },
  ];
  if (rows.length > 1) {
    const spread = spreadOverSeeds(rows);
    const cells = columns.map(({ quantity, digits }) => {
      const over = spread[quantity];
      if (!over) return { text: '–' };
      const fewer = over.seeds < rows.length ? ` (${over.seeds})` : '';
      const text = `±${over.value.toFixed(digits)}${fewer}`;
      return { text, measured: { value: over.value } };
    });
    lines.push({ ...none, kind: 'seeds', name: `over ${rows.length} seeds`, cells });
  }
  if (!published) return lines;
  const theirs = publishedMeasures(published);
  lines.push({
    kind: 'published',
    name: `published ${published.id}`,
    labels: [],
    beta: published.beta === null ? '–' : String(published.beta),
    epsilon: published.epsilon === null ? '–' : String(published.epsilon),
    cells: cellsOf(theirs, columns),
  });
  if (rows.length === 0 || departs) return lines;
  const [apart, outside] = [difference(ours, theirs), outsideSeeds(entry, among)];
  const cells = columns.map(({ quantity, digits }) => {
    const found = apart[quantity];
    const mark = outside.has(quantity) ? '* ' : '';
    if (!found) return { text: '–' };
    return { text: `${mark}${signed(found.value, digits)}`, measured: found };
  });
  lines.push({ ...none, kind: 'difference', name: 'difference', cells });
  return lines;
}

function cellsOf(measures: Measures, columns: readonly QuantityColumn[]): NumberCell[] {
  return columns.map(({ quantity: name, digits }) => {
    const [found, of] = [measures[name], quantity(name)];
    if (!found) return { text: '–' };
    const text = fixed(found.value, digits);
    if (!of.spreads) return { text, measured: found };
    const std = found.std === undefined ? '–' : fixed(found.std, digits);
    return { text, spread: `± ${std}`, measured: found };
  });
}

/** The meaning of the signs that occur in a table. */
export function legendOf(entries: readonly Entry[]): string[] {
  const several = entries.some(({ rows }) => rows.length > 1);
  const legend: string[] = [];
  if (tableColumns(entries).some((column) => quantity(column.quantity).spreads)) {
    const means = several ? '; it and the numbers are means over seeds' : '';
    legend.push(
      `± and what follows it is the standard deviation over images, as in the paper${means}.`,
    );
  }
  if (several) {
    legend.push(
      '"over N seeds" is the sample standard deviation (n − 1) of the number above; (n) if only n seeds have it.',
    );
  }
  const { judged, outside, rows } = outsiders(entries);
  if (judged > 0 && outside === 0) {
    legend.push(
      `None of ${judged} published values is outside the 95 % prediction interval of a training (Student’s t, deviations pooled over rows); chance alone gives ${(0.05 * judged).toFixed(1)}.`,
    );
  } else if (outside > 0) {
    legend.push(
      '* marks what is published outside the 95 % prediction interval of a training: Student’s t, with these deviations pooled over the rows of the table with BANG, or without.',
      `${outside} of ${judged} values are, where chance alone gives ${(0.05 * judged).toFixed(1)}. ${togetherSentence(rows)}`,
    );
  }
  legend.push('difference is ours minus published; – is not measured, or nothing to measure.');
  const departing = entries.filter(({ departs }) => departs);
  const onOtherData = departing.filter(({ labels }) => labels.includes(OTHER_DATA));
  if (departing.length > onOtherData.length) {
    legend.push(
      'There is no difference where the training departs from that of the published row.',
    );
  }
  if (onOtherData.length > 0) {
    legend.push('There is no difference on other data than those of the published row.');
  }
  return legend;
}

function togetherSentence(rows: readonly Entry[]): string {
  const names = rows.map(({ name }) => name);
  const those = names.length === 0 ? 'no row' : names.join(', ');
  return `With all values of a row tested together (Bonferroni), ${those} ${names.length > 1 ? 'are' : 'is'} outside.`;
}

/** The protocols of the entries whose attacks have one, a sentence for each. */
export function protocolSentences(entries: readonly Entry[]): string[] {
  const first = entries.flatMap((entry) => entry.rows.slice(0, 1));
  const rows = first.filter(({ attacks }) => Object.keys(attacks).length > 0);
  return [...new Set(rows.map(({ protocol }) => protocolSentence(protocol)))];
}

function protocolSentence(protocol: Protocol): string {
  const { search, channels } = protocol;
  const searched = search === 'scan' ? 'exhaustive scan' : 'doubling and bisection';
  const name = protocolName(protocol);
  return `${name === undefined ? 'FGS and HC1' : `Protocol ${name}`}: ${searched}; colour channels of the direction ${channels}.`;
}
