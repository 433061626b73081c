import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../files.js';

/** What the paper prints of one attack: rate in percent, L∞ in pixel units, mean ± deviation. */
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

let tables: Record<1 | 2, PublishedTable> | undefined;

/** The paper's Table 1 (LeNet) or 2 (CIFAR-10 quick), its rows in the paper's order. */
export function publishedTable(table: 1 | 2): PublishedTable {
  tables ??= readTables();
  return tables[table];
}

function readTables(): Record<1 | 2, PublishedTable> {
  const file = path.join(packageRoot, 'results', 'paper-tables.json');
  const read = JSON.parse(readFileSync(file, 'utf8')) as Record<string, PublishedTable>;
  const of = (table: 1 | 2): PublishedTable => {
    const { model, dataset, rows } = read[`table${table}`];
    return { model, dataset, rows: rows.map((row) => ({ ...row, table })) };
  };
  return { 1: of(1), 2: of(2) };
}

/** A row of the paper's Table 1 or 2 by its name (`R0`, `B1`, …), or undefined if it has none. */
export function publishedRow(table: 1 | 2, row: string): PublishedRow | undefined {
  return publishedTable(table).rows.find(({ id }) => id === row);
}

/** The names of a table's rows, in the paper's order. */
export function publishedRowNames(table: 1 | 2): string[] {
  return publishedTable(table).rows.map(({ id }) => id);
}
