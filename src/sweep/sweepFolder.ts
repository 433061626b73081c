import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { messageOf, UserError } from '../base/errors.js';
import { refuseNoFolder } from '../store/collect.js';
import { FILES, SURFACES_FILE } from '../store/resultFolder.js';
import { differenceOf } from '../store/identity.js';
import { makeWritable, remove, removeLeftovers } from '../base/folders.js';
import { readJson, writeFileAtomic } from '../base/files.js';
import { INCIDENTAL, isResult, type Result } from '../store/result.js';
import { LOCK_FILE, takeLock, type Lock } from '../store/lock.js';
import {
  KEEPABLE,
  keeping,
  loadPlan,
  type Cell,
  type Keepable,
  type Plan,
} from '../config/sweep.js';

/** The files in a sweep's folder; its subfolder `cells` has a result folder for each cell. */
export const SWEEP_FILES = {
  record: 'sweep.yaml',
  table: 'sweep.csv',
  surfaces: SURFACES_FILE,
  pareto: 'pareto.csv',
  lock: LOCK_FILE,
  cancel: 'sweep.cancel',
} as const;

/** The state of a cell; `open`: not finished. */
export type CellState =
  | { state: 'done'; result: Result }
  | { state: 'failed'; failure: Failure }
  | { state: 'stopped'; rung: number }
  | { state: 'open' };

/** Why a cell has no result. */
export interface Failure {
  error: string;
  /** `experiment`: every attempt would fail in the same way; `other`: another attempt may succeed. */
  kind: 'experiment' | 'other';
  attempts: number;
  time: string;
}

const KEPT_FILE: Record<Keepable, keyof typeof FILES> = {
  weights: 'weights',
  'per-image': 'perImage',
  training: 'training',
};

export interface SweepFolder {
  path: string;
  file(name: keyof typeof SWEEP_FILES): string;
  cell(cell: Cell): string;
  /**
   * Prepares the folder and takes its lock. Nothing on the disk changes before this.
   *
   * @throws UserError if another sweep is running there or the folder cannot be written
   */
  begin(options: { force: boolean; lost: () => void }): Lock;
  state(cell: Cell): CellState;
  /**
   * The validation accuracy of a cell at an iteration, in percent; undefined if it has not got there.
   *
   * @throws UserError if no images are left for validation
   */
  validationAt(cell: Cell, iteration: number): number | undefined;
  fail(cell: Cell, failure: Failure): void;
  /** Makes a failed cell open again. */
  reopen(cell: Cell): void;
  /** Removes the files of a finished cell that are not kept. */
  prune(cell: Cell): void;
}

const FAILURE = 'failure.json';

/** The folder of a sweep, which need not exist yet. */
export function sweepFolder(folder: string, plan: Plan): SweepFolder {
  const file = (name: keyof typeof SWEEP_FILES): string => path.join(folder, SWEEP_FILES[name]);
  const cells = path.join(folder, 'cells');
  const cellFolder = (cell: Cell): string => path.join(cells, cell.id);
  const inCell = (cell: Cell, name: string): string => path.join(cellFolder(cell), name);
  return {
    path: folder,
    file,
    cell: cellFolder,
    begin({ force, lost }) {
      makeWritable(folder);
      const lock = takeLock(file('lock'), 'sweep', lost);
      try {
        if (force) for (const name of [cells, ...RESULTS.map(file)]) remove(name);
        removeLeftovers(folder, Object.values(SWEEP_FILES));
        remove(file('cancel'));
        const record = stringify(plan.record);
        // The record changes if more is kept than before.
        if (!existsSync(file('record')) || readFileSync(file('record'), 'utf8') !== record) {
          writeFileAtomic(file('record'), record);
        }
        return lock;
      } catch (error) {
        lock.release();
        throw error;
      }
    },
    state(cell) {
      const result = readJson(inCell(cell, FILES.result));
      if (isResult(result)) return { state: 'done', result };
      const failure = readJson(inCell(cell, FAILURE));
      return isFailure(failure) ? { state: 'failed', failure } : { state: 'open' };
    },
    validationAt(cell, iteration) {
      const log = inCell(cell, FILES.training);
      if (!existsSync(log)) return undefined;
      const [head, ...rows] = readFileSync(log, 'utf8').trim().split('\n');
      const column = head.split(',').indexOf('validation_accuracy');
      const row = rows.map((line) => line.split(',')).find(([at]) => Number(at) === iteration);
      if (row === undefined) return undefined;
      if (row[column] !== '') return Number(row[column]);
      throw new UserError(`${log} has no validation accuracy: halving needs images for validation`);
    },
    fail(cell, failure) {
      writeFileAtomic(inCell(cell, FAILURE), `${JSON.stringify(failure, null, 2)}\n`);
    },
    reopen(cell) {
      remove(inCell(cell, FAILURE));
      // The log of a failed training must not count at a rung.
      if (!plan.halving || existsSync(inCell(cell, FILES.weights))) return;
      remove(inCell(cell, FILES.training));
      remove(inCell(cell, FILES.checkpoint));
    },
    prune(cell) {
      // With halving, the logs record where each cell stopped.
      const keep = plan.halving ? [...plan.keep, 'training'] : plan.keep;
      for (const name of KEEPABLE) {
        if (!keep.includes(name)) remove(inCell(cell, FILES[KEPT_FILE[name]]));
      }
      remove(inCell(cell, FILES.checkpoint));
      remove(inCell(cell, FAILURE));
    },
  };
}

/** The files that starting over removes; the record is last, since it identifies the others. */
const RESULTS = ['table', 'surfaces', 'pareto', 'record'] as const;

/**
 * The sweep with all kinds of files kept that are already kept in the folder.
 *
 * @param force whether to start over, which is allowed only in a folder with a sweep or without results
 * @throws UserError if the folder holds another sweep or other results
 */
export async function planFor(folder: string, plan: Plan, force: boolean): Promise<Plan> {
  const choose = 'choose another folder with --out, or --force to start over';
  const record = path.join(folder, SWEEP_FILES.record);
  if (!existsSync(record)) {
    for (const stranger of ['cells', FILES.identity]) {
      if (!existsSync(path.join(folder, stranger))) continue;
      throw new UserError(
        `${folder} holds ${stranger}, but no ${SWEEP_FILES.record} that says which sweep it belongs to: choose another folder with --out`,
      );
    }
    return plan;
  }
  if (force) return plan;
  let found: Plan;
  try {
    found = await loadPlan(record);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`cannot read ${record} (${messageOf(error)}): ${choose}`);
  }
  const difference = differenceOfPlans(found, plan);
  if (difference === undefined) return keeping(plan, found.keep);
  throw new UserError(`${folder} holds another sweep (${difference}): ${choose}`);
}

function differenceOfPlans(was: Plan, is: Plan): string | undefined {
  if (was.cells.length !== is.cells.length) {
    return `it had ${was.cells.length} cells, now ${is.cells.length}`;
  }
  const before = new Map(was.cells.map((cell) => [cell.id, cell]));
  for (const cell of is.cells) {
    const old = before.get(cell.id);
    if (!old) return `it had no cell ${cell.id}`;
    const difference = differenceOf(old.config, cell.config, INCIDENTAL);
    if (difference !== undefined) return `in cell ${cell.id}, ${difference}`;
  }
  return differenceOf({ halving: was.halving ?? null }, { halving: is.halving ?? null }, []);
}

/**
 * The sweep that a folder holds.
 *
 * @throws UserError if it holds no sweep or cannot be read
 */
export async function planIn(folder: string): Promise<Plan> {
  refuseNoFolder(folder);
  const record = path.join(folder, SWEEP_FILES.record);
  if (existsSync(record)) return loadPlan(record);
  throw new UserError(`${folder} is not the folder of a sweep: it has no ${SWEEP_FILES.record}`);
}

function isFailure(value: unknown): value is Failure {
  return typeof value === 'object' && value !== null && 'error' in value && 'kind' in value;
}
