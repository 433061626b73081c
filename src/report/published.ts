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
  id: string;
  beta: number | null;
  epsilon: number | null;
  /** Percent. */
  accuracy: number;
  fgs: PublishedAttack;
  hc1: PublishedAttack;
}

interface PaperTables {
  table1: { rows: PublishedRow[] };
  table2: { rows: PublishedRow[] };
}

let tables: PaperTables | undefined;

function rowsOf(table: 1 | 2): PublishedRow[] {
  const file = path.join(packageRoot, 'results', 'paper-tables.json');
  tables ??= JSON.parse(readFileSync(file, 'utf8')) as PaperTables;
  return table === 1 ? tables.table1.rows : tables.table2.rows;
}

/** A row of the paper's Table 1 or 2 by its name (`R0`, `B1`, …), or undefined if it has none. */
export function publishedRow(table: 1 | 2, row: string): PublishedRow | undefined {
  return rowsOf(table).find(({ id }) => id === row);
}

/** The names of a table's rows, in the paper's order. */
export function publishedRowNames(table: 1 | 2): string[] {
  return rowsOf(table).map(({ id }) => id);
}
