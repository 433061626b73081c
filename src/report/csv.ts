import { stringify } from 'csv-stringify/sync';
import type { AttackName } from '../attacks/attack.js';
import type { Evaluation } from '../experiment/evaluate.js';
import type { LogRow } from '../training/log.js';
import {
  difference,
  figuresOf,
  publishedFigures,
  type AttackFigures,
  type Entry,
  type Figures,
} from './table.js';

/** `per-image.csv`: one line an image; empty where an attack failed or was not tried. */
export function perImageCsv(evaluation: Evaluation): string {
  const { images, labels, predicted, blank, protocol, attacks } = evaluation;
  const { search } = protocol;
  const columns: Record<string, (i: number) => number | string>[] = [
    {
      index: (i) => i,
      label: (i) => labels[i],
      predicted: (i) => predicted[i],
      blank: (i) => blank[i],
    },
  ];
  const attackColumns = (name: AttackName, prefix: string, withPass: boolean): void => {
    const outcome = attacks.get(name);
    const linf = (i: number) => value(outcome?.linf, i, 6);
    const none = () => '';
    const measured = (i: number) => outcome?.pass !== undefined && !Number.isNaN(outcome.linf[i]);
    columns.push({
      [`${prefix}_linf`]: search === 'bisection' ? linf : none,
      ...(withPass && {
        [`${prefix}_pass`]: (i) => value(outcome?.pass, i, 4),
        [`${prefix}_aligned`]: (i) => (measured(i) ? outcome!.aligned![i] : ''),
      }),
      [`${prefix}_linf_scan`]: search === 'scan' ? linf : none,
    });
  };
  attackColumns('fgs', 'fgs', true);
  attackColumns('hc1', 'hc1', true);
  attackColumns('fgs-unmasked', 'fgs_unmasked', false);
  const all = columns.flatMap((group) => Object.entries(group));
  const rows = Array.from({ length: images }, (_, i) => all.map(([, of]) => of(i)));
  return stringify([all.map(([name]) => name), ...rows]);
}

function value(values: Float32Array | undefined, i: number, digits: number): number | string {
  const found = values?.[i];
  return found === undefined || Number.isNaN(found) ? '' : Number(found.toFixed(digits));
}

/** `table.csv`: the lines of the console table, each figure in a column of its own. */
export function tableCsv(entries: Entry[]): string {
  const lines = entries.flatMap(({ name, beta, epsilon, row, published }) => {
    const ours = figuresOf(row);
    const of = (source: string, figures: Figures) => ({
      name,
      source,
      beta,
      epsilon,
      ...flat(figures),
    });
    if (!published) return [of('bang', ours)];
    const theirs = publishedFigures(published);
    return [
      of('bang', ours),
      of(`published ${published.id}`, theirs),
      of('difference', difference(ours, theirs)),
    ];
  });
  return stringify(lines, { header: true });
}

function flat({ accuracy, fgs, hc1, unmasked }: Figures): Record<string, number | string> {
  const rounded = (x: number | null | undefined, digits: number) =>
    x === null || x === undefined ? '' : Number(x.toFixed(digits));
  const attack = (prefix: string, { rate, pass, linf }: AttackFigures) => ({
    [`${prefix}_rate`]: rounded(rate, 4),
    [`${prefix}_pass_mean`]: rounded(pass?.mean, 6),
    [`${prefix}_pass_std`]: rounded(pass?.std, 6),
    [`${prefix}_linf_mean`]: rounded(linf?.mean, 4),
    [`${prefix}_linf_std`]: rounded(linf?.std, 4),
  });
  return {
    accuracy: rounded(accuracy, 4),
    ...attack('fgs', fgs),
    ...attack('hc1', hc1),
    ...attack('fgs_unmasked', unmasked),
  };
}

/** `training.csv`: one line each `logEvery` iterations. */
export function trainingCsv(rows: LogRow[]): string {
  const lines = rows.map((row) => ({
    iteration: row.iteration,
    learning_rate: Number(row.learningRate.toPrecision(7)),
    loss: Number(row.loss.toPrecision(7)),
    train_accuracy: Number(row.trainAccuracy.toFixed(4)),
    validation_accuracy: row.validationAccuracy ?? '',
    ...Object.fromEntries(
      Object.entries(row.eta).flatMap(([layer, { mean, max }]) => [
        [`eta_mean_${layer}`, Number(mean.toPrecision(6))],
        [`eta_max_${layer}`, Number(max.toPrecision(6))],
      ]),
    ),
  }));
  return stringify(lines, { header: true });
}
