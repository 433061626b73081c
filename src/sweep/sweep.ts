import { existsSync, rmSync } from 'node:fs';
import { counted } from '../base/text.js';
import { UserError } from '../base/errors.js';
import { threadCount } from '../engine/engine.js';
import type { Result } from '../store/result.js';
import { loadSource, refuseOtherData } from '../store/provenance.js';
import { writeFileAtomic } from '../base/files.js';
import type { Progress, Task } from '../base/progress.js';
import { groupedBy } from '../base/groups.js';
import { meanOf } from '../base/sums.js';
import { bestOf, cellText, pointKey, pointsOf, progressText, type SweepCell } from './summary.js';
import { paretoCsv, surfacesCsv, sweepCsv } from './sweepCsv.js';
import { type CellState, planFor, type SweepFolder, sweepFolder } from './sweepFolder.js';
import type { Cell, Plan } from '../config/sweep.js';
import { type ComputeHooks, type Job, runPool } from './pool.js';

export interface SweepOptions {
  /** The folder of the sweep. */
  out: string;
  /** Whether to start over in a folder that holds a sweep. */
  force?: boolean;
  /** Processes at once; default: one for each thread. */
  jobs?: number;
  /** Computing threads of all processes together; default: `$BANG_THREADS`, else all cores. */
  threads?: number;
  dataDir?: string;
  /** How often to retry a cell that fails for another reason than its experiment. */
  retries: number;
  progress: Progress;
  signal: AbortSignal;
}

/** Computes cells, up to iteration `until` if given, and reports their ends: locally or by a queue. */
export type Compute = (
  cells: readonly Cell[],
  until: number | undefined,
  hooks: ComputeHooks,
) => Promise<void>;

/**
 * The number of processes and of threads of each: one process for each thread if there are enough cells.
 *
 * @throws UserError if `jobs` or `threads` is invalid
 */
export function sharing(
  cells: number,
  { jobs, threads }: Pick<SweepOptions, 'jobs' | 'threads'>,
): { processes: number; threads: number } {
  const all = threadCount(threads);
  if (jobs !== undefined && (!Number.isInteger(jobs) || jobs < 1 || jobs > 1024)) {
    throw new UserError(`--jobs must be a whole number from 1 to 1024, not ${jobs}`);
  }
  const processes = Math.max(1, Math.min(jobs ?? all, cells));
  return { processes, threads: Math.max(1, Math.floor(all / processes)) };
}

/**
 * Computes the missing and failed cells of a sweep, and writes its tables into the folder.
 *
 * @throws UserError if the folder holds another sweep or a sweep is running there; Interrupted if the
 *   signal aborts, after everything computed has been saved
 */
export async function runSweep(wanted: Plan, options: SweepOptions): Promise<SweepCell[]> {
  const { force = false, dataDir, retries } = options;
  const { plan, notes } = await planFor(options.out, wanted, force);
  const folder = sweepFolder(options.out, plan);
  const local: Compute = async (cells, until, hooks) => {
    const { processes, threads } = sharing(cells.length, options);
    const jobOf = (cell: Cell): Job => {
      return { config: cell.config, out: folder.cell(cell), threads, dataDir, until };
    };
    await runPool(cells, jobOf, { processes, retries }, hooks);
  };
  sharing(1, options);
  return carryOut(plan, folder, local, notes, options);
}

/** @throws UserError if the workers of a queue cannot compute a sweep */
export function refuseUnqueueable({ halving, cells }: Plan): void {
  if (halving) {
    throw new UserError('halving compares cells on one machine: leave it out, or --queue');
  }
  if (cells.some(({ config }) => config.training.snapshots !== undefined)) {
    throw new UserError(
      'training.snapshots: workers do not send them; drop it with --set training.snapshots=null, or leave out --queue',
    );
  }
}

/**
 * Continues a sweep to its end, wherever its cells are computed.
 *
 * @param notes what to say of the sweep once the folder is its own
 */
export async function carryOut(
  plan: Plan,
  folder: SweepFolder,
  compute: Compute,
  notes: readonly string[],
  options: Pick<SweepOptions, 'force' | 'dataDir' | 'progress' | 'signal'>,
): Promise<SweepCell[]> {
  const { force = false, dataDir, progress } = options;
  // Another process or `bang sweep cancel` can stop this one like Ctrl-C.
  const stopping = new AbortController();
  const signal = AbortSignal.any([options.signal, stopping.signal]);
  const lock = folder.begin({
    force,
    lost: () => {
      progress.note(`${folder.path} was taken over by another sweep; stopping`);
      stopping.abort();
    },
  });
  for (const note of notes) progress.note(note);
  const watch = setInterval(() => {
    if (!existsSync(folder.file('cancel')) || stopping.signal.aborted) return;
    progress.note('cancelled; stopping after saving');
    stopping.abort(CANCELLED);
  }, 500);
  try {
    const states = new Map(plan.cells.map((cell) => [cell, folder.state(cell)]));
    const tables = (): SweepCell[] => {
      const cells = cellsOf(plan, states);
      writeFileAtomic(folder.file('table'), sweepCsv(plan.keys, cells));
      writeFileAtomic(folder.file('surfaces'), surfacesCsv(plan.keys, cells));
      writeFileAtomic(folder.file('pareto'), paretoCsv(plan.keys, cells));
      return cells;
    };
    const open = plan.cells.filter((cell) => states.get(cell)!.state !== 'done');
    const done = plan.cells.filter((cell) => states.get(cell)!.state === 'done');
    for (const cell of done) folder.prune(cell);
    const poorer = done.filter((cell) => folder.lacking(cell).length > 0);
    if (poorer.length > 0) {
      const lacking = [...new Set(poorer.flatMap((cell) => folder.lacking(cell)))].join(', ');
      progress.note(
        `${counted(poorer.length, 'finished cell has', 'finished cells have')} no ${lacking}, which was not kept then: --force computes all cells again`,
      );
    }
    if (open.length > 0 || dataDir !== undefined) {
      // Fetched once, before several processes need it.
      await refuseCellsOnOtherData(folder, states, { dataDir, progress, signal });
    }
    for (const cell of open) {
      // Others continue from what they have.
      if (states.get(cell)!.state === 'failed') folder.reopen(cell);
      states.set(cell, { state: 'open' });
    }
    let cells: SweepCell[] = [];
    try {
      if (open.length > 0) {
        await computeAll(plan, folder, compute, states, sparingly(tables), progress, signal);
      }
    } finally {
      cells = tables();
    }
    return cells;
  } finally {
    clearInterval(watch);
    rmSync(folder.file('cancel'), { force: true });
    lock.release();
  }
}

/**
 * Reads the data of a sweep.
 *
 * @throws UserError if a finished cell was computed on others
 */
export async function refuseCellsOnOtherData(
  folder: Pick<SweepFolder, 'path'>,
  states: States,
  options: Parameters<typeof loadSource>[1],
): Promise<void> {
  for (const name of new Set([...states.keys()].map(({ config }) => config.data))) {
    const { sha256 } = await loadSource(name, options);
    for (const [{ id, config }, state] of states) {
      if (state.state !== 'done' || config.data !== name) continue;
      const path = `${id} in ${folder.path}`;
      refuseOtherData({ path }, state.result.data.sha256, sha256);
    }
  }
}

/** The signal's reason if `bang sweep cancel` stops a sweep, which also empties its queue. */
export const CANCELLED = 'cancelled';

/** Skips work so that it takes at most a twentieth of the time, since tables grow long. */
function sparingly<T>(work: () => T): () => T | undefined {
  let next = -Infinity;
  return () => {
    const begun = performance.now();
    if (begun < next) return undefined;
    const result = work();
    const now = performance.now();
    next = now + 19 * (now - begun);
    return result;
  };
}

type States = Map<Cell, CellState>;

async function computeAll(
  plan: Plan,
  folder: SweepFolder,
  compute: Compute,
  states: States,
  tables: () => SweepCell[] | undefined,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const whole = watchCells(plan, states, progress);
  const stage = (cells: readonly Cell[], until?: number): Promise<void> =>
    compute(cells, until, {
      begun: (cell) => {
        whole.begun(cell);
      },
      progress: (cell, fraction) => {
        whole.progress(cell, until === undefined ? fraction : 0);
      },
      note: (cell, line) => {
        progress.note(`${cellText(plan.keys, cell)}: ${line}`);
      },
      ended: (cell, end, attempts) => {
        if (end.kind === 'failed') {
          const { error, failure: kind } = end;
          const failure = { error, kind, attempts, time: new Date().toISOString() };
          folder.fail(cell, failure);
          states.set(cell, { state: 'failed', failure });
        } else if (until === undefined) {
          states.set(cell, folder.state(cell));
          folder.prune(cell);
        }
        whole.ended(cell, tables());
      },
      signal,
    });
  const isOpen = (cell: Cell): boolean => states.get(cell)!.state === 'open';
  let going = plan.cells;
  for (const rung of plan.halving?.rungs ?? []) {
    const behind = going.filter(
      (cell) => isOpen(cell) && folder.validationAt(cell, rung) === undefined,
    );
    if (behind.length > 0) await stage(behind, rung);
    going = afterRung(rung, going, plan, folder, states);
    for (const cell of plan.cells) if (states.get(cell)!.state === 'stopped') folder.prune(cell);
  }
  await stage(going.filter(isOpen));
  whole.finish();
}

/** The cells that continue after a rung. Open cells that do not are marked as stopped. */
function afterRung(
  rung: number,
  going: readonly Cell[],
  plan: Plan,
  folder: SweepFolder,
  states: States,
): Cell[] {
  // Failed cells are left out, although they may have a log at this rung.
  const sound = going.filter((cell) => states.get(cell)!.state !== 'failed');
  const left = survivors(sound, (cell) => folder.validationAt(cell, rung), plan.halving!.keep);
  for (const cell of sound) {
    if (left.includes(cell) || states.get(cell)!.state !== 'open') continue;
    states.set(cell, { state: 'stopped', rung });
  }
  return left;
}

/**
 * The cells that continue: those of the best share of points by mean validation accuracy over seeds, of one point at
 * least, the first ones of ties, and always references.
 */
export function survivors(
  cells: readonly Cell[],
  accuracyOf: (cell: Cell) => number | undefined,
  keep: number,
): Cell[] {
  const measured = cells.flatMap((cell) => {
    const accuracy = accuracyOf(cell);
    return cell.reference || accuracy === undefined ? [] : [{ key: pointKey(cell), accuracy }];
  });
  const points = groupedBy(measured, ({ key }) => key);
  // A share such as 0.07 of 100 is a rounding above 7.
  const count = Math.max(1, Math.ceil(points.size * keep - 1e-9));
  const means = [...points].map(([key, alike]) => {
    return { key, mean: meanOf(alike.map(({ accuracy }) => accuracy)) };
  });
  const best = means.sort((a, b) => b.mean - a.mean).slice(0, count);
  const going = new Set(best.map(({ key }) => key));
  return cells.filter(
    (cell) => cell.reference || (accuracyOf(cell) !== undefined && going.has(pointKey(cell))),
  );
}

/** The cells of a sweep's folder and their states, for reports. */
export function cellsIn(plan: Plan, folder: SweepFolder): SweepCell[] {
  return cellsOf(plan, statesIn(plan, folder));
}

function cellsOf(plan: Plan, states: States): SweepCell[] {
  return plan.cells.map((cell): SweepCell => {
    const { id, values, seed, reference } = cell;
    const found = states.get(cell)!;
    const common = { id, values, seed, reference, state: found.state };
    switch (found.state) {
      case 'done':
        return { ...common, row: found.result.row, origin: originOf(found.result) };
      case 'failed':
        return { ...common, error: found.failure.error, failure: found.failure.kind };
      case 'stopped':
        return { ...common, error: `stopped at iteration ${found.rung}: others were better` };
      case 'open':
        return common;
    }
  });
}

/** How long it took, if the result says so. */
export function secondsTaken({ provenance }: Partial<Result>): number | undefined {
  return provenance?.seconds.total;
}

function originOf({ weights, provenance }: Result): SweepCell['origin'] {
  if (!provenance) return undefined;
  const { bang, engine, cpu, threads, seconds, finished } = provenance;
  return { weights, bang, engine, cpu, threads, seconds, finished };
}

/** The states of cells in a folder. Cells that halving stopped are derived from the logs. */
export function statesIn(plan: Plan, folder: SweepFolder): States {
  const states: States = new Map(plan.cells.map((cell) => [cell, folder.state(cell)]));
  let going = plan.cells;
  for (const rung of plan.halving?.rungs ?? []) {
    const measured = (cell: Cell): boolean =>
      states.get(cell)!.state !== 'open' || folder.validationAt(cell, rung) !== undefined;
    if (!going.every(measured)) break;
    going = afterRung(rung, going, plan, folder, states);
  }
  return states;
}

/** The progress of a sweep: one task that counts cells, and running cells in part. */
function watchCells(plan: Plan, states: States, progress: Progress) {
  const task: Task = progress.start('sweep', plan.cells.length, 'cells');
  const running = new Map<Cell, number>();
  const count = (state: CellState['state']): number =>
    [...states.values()].filter((one) => one.state === state).length;
  let best = '';
  const show = (): void => {
    const parts = [...running.values()].reduce((sum, part) => sum + part, 0);
    const settled = count('done') + count('failed') + count('stopped');
    const failed = count('failed');
    const words = [`${running.size} running`, ...(failed > 0 ? [`${failed} failed`] : []), best];
    task.update(
      settled + parts,
      words
        .filter((word) => word !== '')
        .map((word) => `| ${word}`)
        .join(' '),
    );
  };
  show();
  return {
    begun(cell: Cell) {
      running.set(cell, 0);
      show();
    },
    progress(cell: Cell, fraction: number) {
      running.set(cell, fraction);
      show();
    },
    ended(cell: Cell, cells: readonly SweepCell[] | undefined) {
      running.delete(cell);
      if (cells) best = bestOf(plan.keys, pointsOf(cells)).join(' | ');
      const line = endText(states.get(cell)!);
      if (line !== undefined) progress.note(`${cellText(plan.keys, cell)}: ${line}`);
      show();
    },
    finish() {
      task.finish(progressText([...states.values()]));
    },
  };
}

function endText(state: CellState): string | undefined {
  if (state.state === 'failed') return `failed: ${state.failure.error}`;
  if (state.state !== 'done') return undefined;
  const { row } = state.result;
  const { fgs, 'fgs-unmasked': unmasked } = row.attacks;
  const words = [`accuracy ${row.accuracy.toFixed(2)} %`];
  if (fgs) words.push(`FGS-Rate ${fgs.rate.toFixed(2)} %`);
  if (unmasked?.linf) words.push(`unmasked FGS-L∞ ${unmasked.linf.mean.toFixed(2)}`);
  const seconds = secondsTaken(state.result);
  if (seconds !== undefined) words.push(`${seconds.toFixed(0)} s`);
  return words.join(', ');
}
