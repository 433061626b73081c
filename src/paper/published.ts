import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../base/files.js';

/** The paper's numbers for one attack: rate in percent, PASS, and L∞ in grey levels; mean ± standard deviation. */
export interface PublishedAttack {
  rate: number;
  passMean: number;
  passStd: number;
  linfMean: number;
  linfStd: number;
}

/** One row of Table 1 (LeNet) or Table 2 (CIFAR-10 quick); `beta` is null for regular training. */
export interface PublishedRow {
  table: 1 | 2;
  id: string;
  beta: number | null;
  epsilon: number | null;
  /** Percent. */
  accuracy: number;
  fgs: PublishedAttack;
  hc1: PublishedAttack;
}

/** One of the paper's tables. */
export interface PublishedTable {
  model: string;
  dataset: string;
  rows: PublishedRow[];
}

/** The pairs of networks for which the paper reports random distortions. */
export const NOISE_PAIRS = ['lenet', 'cifar10'] as const;
export type NoisePair = (typeof NOISE_PAIRS)[number];

/** The paper's numbers for a pair: the percentage of distortions with noise of σ that each network misclassifies. */
export interface PublishedNoise {
  /** The rows of the two networks in the tables. */
  regular: string;
  bang: string;
  /** In grey levels. */
  sigma: number;
  regularPercent: number;
  bangPercent: number;
}

interface Published {
  table1: PublishedTable;
  table2: PublishedTable;
  noise: Record<NoisePair, PublishedNoise>;
}

let published: Published | undefined;

/** Table 1 (LeNet) or 2 (CIFAR-10 quick), with its rows in the paper's order. */
export function publishedTable(table: 1 | 2): PublishedTable {
  return all()[`table${table}`];
}

/** The paper's numbers for random distortions, at the end of training. */
export function publishedNoise(pair: NoisePair): PublishedNoise {
  return all().noise[pair];
}

function all(): Published {
  if (published) return published;
  const file = path.join(packageRoot, 'results', 'paper-tables.json');
  const read = JSON.parse(readFileSync(file, 'utf8')) as Published;
  const withNumber = (table: 1 | 2): PublishedTable => {
    const { model, dataset, rows } = read[`table${table}`];
    return { model, dataset, rows: rows.map((row) => ({ ...row, table })) };
  };
  published = { table1: withNumber(1), table2: withNumber(2), noise: read.noise };
  return published;
}

/** A row of Table 1 or 2 by its name (`R0`, `B1`, …), or undefined if there is none. */
export function publishedRow(table: 1 | 2, row: string): PublishedRow | undefined {
  return publishedTable(table).rows.find(({ id }) => id === row);
}

/** The names of a table's rows, in the paper's order. */
export function publishedRowNames(table: 1 | 2): string[] {
  return publishedTable(table).rows.map(({ id }) => id);
}
