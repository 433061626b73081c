import { existsSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { counted } from '../base/text.js';
import { messageOf, UserError } from '../base/errors.js';
import { refuseNoFolder } from '../store/collect.js';
import { CELLS, FILES, SURFACES_FILE, SWEEP_FILE } from '../store/resultFolder.js';
import {
  canonical,
  differenceOf,
  INCIDENTAL,
  OTHERWISE,
  readIdentity,
  without,
} from '../store/identity.js';
import { makeWritable, remove, removeLeftovers } from '../base/folders.js';
import { isFile, jsonText, readJson, readRegularFile, writeFileAtomic } from '../base/files.js';
import { isResult, type Result } from '../store/result.js';
import { LOCK_FILE, takeLock, type Lock } from '../store/lock.js';
import {
  KEEPABLE,
  keeping,
  loadPlan,
  renamed,
  type Cell,
  type Keepable,
  type Plan,
} from '../config/sweep.js';

/** The files in a sweep's folder; its subfolder `cells` has a result folder for each cell. */
export const SWEEP_FILES = {
  record: SWEEP_FILE,
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
  /** What is to be kept of a finished cell, and was not when it was computed. */
  lacking(cell: Cell): Keepable[];
}

const FAILURE = 'failure.json';

/** The folder of a sweep, which need not exist yet. */
export function sweepFolder(folder: string, plan: Plan): SweepFolder {
  const file = (name: keyof typeof SWEEP_FILES): string => path.join(folder, SWEEP_FILES[name]);
  const cells = path.join(folder, CELLS);
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
        if (
          !existsSync(file('record')) ||
          readRegularFile(file('record')).toString('utf8') !== record
        ) {
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
      // A result of another experiment must not be taken for this one's.
      const own = isResult(result) && !differenceOf(result.config, cell.config, INCIDENTAL);
      if (own) return { state: 'done', result };
      const failure = readJson(inCell(cell, FAILURE));
      return isFailure(failure) ? { state: 'failed', failure } : { state: 'open' };
    },
    validationAt(cell, iteration) {
      const log = inCell(cell, FILES.training);
      if (!existsSync(log)) return undefined;
      const [head, ...rows] = readRegularFile(log).toString('utf8').trim().split('\n');
      const column = head.split(',').indexOf('validation_accuracy');
      const row = rows.map((line) => line.split(',')).find(([at]) => Number(at) === iteration);
      if (row === undefined) return undefined;
      if (row[column] !== '') return Number(row[column]);
      throw new UserError(
        `${log} has no validation accuracy: halving needs images for validation, which are those beyond 50 000 for training`,
      );
    },
    fail(cell, failure) {
      writeFileAtomic(inCell(cell, FAILURE), jsonText(failure));
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
      remove(inCell(cell, FILES.examples));
      remove(inCell(cell, FILES.checkpoint));
      remove(inCell(cell, FAILURE));
    },
    lacking: (cell) =>
      plan.keep.filter((name) => !existsSync(inCell(cell, FILES[KEPT_FILE[name]]))),
  };
}

/** The files that starting over removes; the record is last, since it identifies the others. */
const RESULTS = ['table', 'surfaces', 'pareto', 'record'] as const;

/** A sweep as it continues in a folder. */
export interface Continued {
  plan: Plan;
  /** The sweep that the folder holds, if it has other cells or is started over. */
  before?: Plan;
  /** A sentence for each way in which the cells have changed. */
  notes: string[];
}

/**
 * The sweep with all kinds of files kept that are already kept in the folder, and with the names that cells
 * have there. It may have grown or lost cells.
 *
 * @param force whether to start over, which is allowed only in a folder with a sweep or without results
 * @throws UserError if the folder holds another sweep or other results
 */
export async function planFor(folder: string, plan: Plan, force: boolean): Promise<Continued> {
  const record = path.join(folder, SWEEP_FILES.record);
  if (isFile(folder)) {
    throw new UserError(`cannot write to the folder ${folder}: a file has that name`);
  }
  if (!existsSync(record)) {
    for (const stranger of [CELLS, FILES.identity]) {
      if (!existsSync(path.join(folder, stranger))) continue;
      throw new UserError(
        `${folder} holds ${stranger}, but no ${SWEEP_FILES.record} that says which sweep it belongs to: choose another folder with --out`,
      );
    }
    return { plan, notes: [] };
  }
  let found: Plan;
  try {
    found = await loadPlan(record);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    if (force) return { plan, notes: [] };
    throw new UserError(`cannot read ${record} (${messageOf(error)}): ${OTHERWISE}`);
  }
  if (force) return { plan, notes: [], before: found };
  const matches = matchesOf(found, plan);
  const difference = differenceOfPlans(found, plan, matches);
  if (difference !== undefined) {
    throw new UserError(`${folder} holds another sweep (${difference}): ${OTHERWISE}`);
  }
  const kept = keeping(renamed(plan, idsIn(folder, found, plan, matches)), found.keep);
  const stay = new Set(matches.values());
  const left = found.cells.filter((cell) => !stay.has(cell)).map(({ id }) => id);
  const more = plan.cells.length - matches.size;
  const notes: string[] = [];
  if (more > 0) notes.push(`${counted(more, 'cell is', 'cells are')} new in the sweep`);
  if (left.length > 0) {
    const shown = left.slice(0, 5).join(', ');
    const rest = left.length > 5 ? ` and ${left.length - 5} more` : '';
    notes.push(
      `no longer in the sweep: ${shown}${rest}; what there is of them stays in ${path.join(folder, CELLS)}, but not in the tables`,
    );
  }
  return { plan: kept, notes, ...(notes.length > 0 && { before: found }) };
}

/** The cells of a former sweep that are the same experiments as cells of this one, by the latter. */
function matchesOf(was: Plan, is: Plan): Map<Cell, Cell> {
  const matches = new Map<Cell, Cell>();
  // The engine makes no difference, unless the sweep varies it.
  for (const ignored of [['name'], INCIDENTAL]) {
    const used = new Set(matches.values());
    const before = new Map(
      was.cells
        .filter((cell) => !used.has(cell))
        .map((cell) => [experimentOf(cell, ignored), cell] as const),
    );
    for (const cell of is.cells) {
      const key = experimentOf(cell, ignored);
      const old = matches.has(cell) ? undefined : before.get(key);
      if (!old) continue;
      matches.set(cell, old);
      before.delete(key);
    }
  }
  return matches;
}

function experimentOf({ reference, config }: Cell, ignored: readonly string[]): string {
  return canonical([reference, without(config, ignored)]);
}

/** Why a sweep is another than a former one; undefined if it continues it, even with other cells. */
function differenceOfPlans(
  was: Plan,
  is: Plan,
  matches: ReadonlyMap<Cell, Cell>,
): string | undefined {
  const points = new Map(was.cells.map((cell) => [pointOf(was, cell), cell]));
  for (const cell of is.cells) {
    const old = matches.has(cell) ? undefined : points.get(pointOf(is, cell));
    const difference = old && differenceOf(old.config, cell.config, INCIDENTAL);
    if (difference !== undefined) return `in cell ${old!.id}, ${difference}`;
  }
  if (matches.size === 0) return 'none of its cells is in this one';
  const same = matches.size === was.cells.length && matches.size === is.cells.length;
  if (!same && (was.halving ?? is.halving)) {
    const change = `it had ${counted(was.cells.length, 'cell')}, now ${is.cells.length}`;
    return `${change}; with halving, cells are compared with each other, so that none can be added or left out`;
  }
  return differenceOf({ halving: was.halving ?? null }, { halving: is.halving ?? null }, []);
}

/** What a cell is in the words of its sweep: the values of the keys, and the seed. */
function pointOf({ keys }: Plan, { values, seed, reference }: Cell): string {
  const settings = keys.flatMap((key, i) => (values[i] === undefined ? [] : [[key, values[i]]]));
  return JSON.stringify(reference ? ['reference', seed] : [settings.sort(), seed]);
}

/** The names of a sweep's cells in a folder: those that they have there, others for new cells. */
function idsIn(
  folder: string,
  was: Plan,
  { cells }: Plan,
  matches: ReadonlyMap<Cell, Cell>,
): string[] {
  const taken = new Set(was.cells.map(({ id }) => id));
  const free = (id: string, cell: Cell): boolean => {
    const identity = path.join(folder, CELLS, id, FILES.identity);
    if (taken.has(id)) return false;
    if (!existsSync(identity)) return true;
    // A cell that left the sweep before may come back.
    try {
      return differenceOf(readIdentity(identity), cell.config, INCIDENTAL) === undefined;
    } catch (error) {
      if (error instanceof UserError) return false;
      throw error;
    }
  };
  return cells.map((cell) => {
    const old = matches.get(cell);
    if (old) return old.id;
    let id = cell.id;
    for (let i = 2; !free(id, cell); i++) id = `${cell.id}-${i}`;
    taken.add(id);
    return id;
  });
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
