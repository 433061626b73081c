import { existsSync, readdirSync } from 'node:fs';
import { z } from 'zod';
import { UserError } from '../../base/errors.js';
import {
  type CollectedPart,
  findRuns,
  groupRuns,
  isStudy,
  leftOut,
  tablesOf,
} from '../../store/collect.js';
import { FILES } from '../../store/resultFolder.js';
import { readJson, readRegularFile } from '../../base/files.js';
import { numberIn, readCsv } from '../../store/csvFile.js';
import { isNoiseResult, type NoiseResult } from '../../store/noise.js';
import type { Transfer } from '../../metrics/transfer.js';
import { transferResultSchema } from '../../store/transfer.js';
import type { SweepCell } from '../../sweep/summary.js';
import { planIn, SWEEP_FILES, type SweepFolder, sweepFolder } from '../../sweep/sweepFolder.js';
import { readLock } from '../../store/lock.js';
import { beginningIn, logTime, type Mark, timeLeft } from '../../store/timeLeft.js';
import { cellsIn } from '../../sweep/sweep.js';
import { extentOf } from '../../base/sums.js';
import { inWords, shellWord } from '../../base/text.js';
import { parsePlainYaml } from '../../config/yamlTree.js';
import { isMapping } from '../../config/problems.js';
import type { Plan } from '../../config/sweep.js';
import type { Identity } from '../../store/identity.js';
import path from 'node:path';

/** Everything that a page shows of result folders, except what is computed from weights. */
export interface Collected {
  folders: readonly string[];
  parts: CollectedPart[];
  sweeps: FoundSweep[];
  studies: FoundStudy[];
  transfers: FoundTransfer[];
  unfinished: UnfinishedRun[];
  /** A sentence for each thing that is left out. */
  notes: string[];
}

export interface FoundSweep {
  folder: string;
  name: string;
  keys: readonly string[];
  cells: SweepCell[];
  /** The configs of its cells as one, in which a key that varies has the list of its values. */
  identity: Identity;
  /** Whether a process is working on it. */
  running: boolean;
  /** Cells without a result in which something has begun. */
  atWork: UnfinishedRun[];
  /** Milliseconds until all cells are done, at the speed so far; undefined if it is not known. */
  left?: number;
}

export interface FoundStudy {
  folder: string;
  result: NoiseResult;
}

export interface FoundTransfer {
  folder: string;
  transfers: Transfer[];
}

/** The progress of a run without a result; unknown values are left out. */
export interface UnfinishedRun {
  folder: string;
  name?: string;
  iterations?: number;
  /** The last line of the training log, if it can be read. */
  last?: { iteration: number; loss: number; validation: number | undefined };
  isTrained: boolean;
  /** Finished attacks. */
  attacks: string[];
  /** Milliseconds of training left, at the speed so far; undefined if it is not known. */
  left?: number;
}

/** How far each run was when it was first seen, by its folder: by that the time left of resumed runs is known. */
export type FirstSeen = Map<string, Mark>;

/**
 * The runs, sweeps and studies in folders and below them. Cells of a sweep do not count as runs.
 *
 * @param seen kept from call to call while runs are followed
 *
 * @throws UserError if one of the paths is not a folder
 */
export async function collectResults(
  folders: readonly string[],
  seen: FirstSeen = new Map(),
): Promise<Collected> {
  const places = { sweeps: [] as string[], studies: [] as string[] };
  const found = findRuns(folders, (folder) => {
    const isSweep = existsSync(path.join(folder, SWEEP_FILES.record));
    if (isSweep) places.sweeps.push(folder);
    else if (isStudy(folder)) places.studies.push(folder);
    else return false;
    return true;
  });
  const { groups, notes } = groupRuns(found.runs);
  const collected: Collected = {
    folders,
    parts: tablesOf(groups),
    sweeps: [],
    studies: [],
    transfers: [],
    unfinished: found.unfinished.map((folder) => unfinishedRun(folder, seen)),
    // Unfinished runs are shown.
    notes: [...leftOut({ ...found, unfinished: [] }), ...notes],
  };
  for (const folder of places.sweeps) await addSweep(folder, collected, seen);
  for (const folder of places.studies) addStudy(folder, collected);
  return collected;
}

/** @throws UserError if there is nothing to show */
export function refuseEmpty({
  folders,
  parts,
  sweeps,
  studies,
  transfers,
  unfinished,
  notes,
}: Collected): void {
  if ([parts, sweeps, studies, transfers].some((list) => list.length > 0)) return;
  const reasons = [...unfinished.map(({ folder }) => `${folder} is not finished`), ...notes];
  const more = reasons.length > 1 ? `, and ${reasons.length - 1} more` : '';
  const why = reasons.length === 0 ? '' : `: ${reasons[0]}${more}`;
  const how = unfinished.some(({ folder }) => folder === folders[0])
    ? ''
    : `; bang run lenet-b1 --out ${shellWord(`${folders[0]}/lenet-b1`)} makes one in minutes`;
  throw new UserError(
    `no finished run, sweep or study in ${inWords(folders)} or below${why}${how}`,
  );
}

async function addSweep(
  folder: string,
  { sweeps, notes }: Collected,
  seen: FirstSeen,
): Promise<void> {
  try {
    const plan = await planIn(folder);
    const there = sweepFolder(folder, plan);
    const cells = cellsIn(plan, readable(there, notes));
    const lock = readLock(there.file('lock'));
    const running = lock?.live === true;
    const open = plan.cells
      .filter((_, i) => cells[i].state === 'open')
      .map((cell) => there.cell(cell));
    sweeps.push({
      folder,
      name: plan.name,
      keys: plan.keys,
      cells,
      identity: identityOf(plan),
      running,
      atWork: running ? open.filter(existsSync).map((cell) => unfinishedRun(cell, seen)) : [],
      left: running ? sweepTimeLeft(cells, Date.parse(lock.holder.since)) : undefined,
    });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`the sweep in ${folder} is left out: ${error.message}`);
  }
}

/** By the cells that were finished since a process took the sweep. */
function sweepTimeLeft(cells: readonly SweepCell[], since: number): number | undefined {
  const finished = cells.flatMap(({ origin }) => Date.parse(origin?.finished ?? '') || []);
  const fresh = finished.filter((at) => at > since);
  if (fresh.length === 0) return undefined;
  const open = cells.filter(({ state }) => state === 'open').length;
  const last = { done: fresh.length, at: extentOf(fresh)[1] };
  return timeLeft({ done: 0, at: since }, last, fresh.length + open);
}

function identityOf({ cells }: Plan): Identity {
  const varied = cells.filter(({ reference }) => !reference).map(({ config }) => config);
  return together(JSON.parse(JSON.stringify(varied)) as Identity[]);
}

/** Mappings as one: where they differ, the list of their values. */
function together(all: readonly Identity[]): Identity {
  const keys = new Set(all.flatMap((one) => Object.keys(one)));
  const merged = [...keys].map((key) => {
    const values = all.flatMap((one) => (Object.hasOwn(one, key) ? [one[key]] : []));
    if (values.every(isMapping)) return [key, together(values)];
    const distinct = new Map(values.map((value) => [JSON.stringify(value), value]));
    return [key, distinct.size === 1 ? values[0] : [...distinct.values()]];
  });
  return Object.fromEntries(merged) as Identity;
}

/** The folder of a sweep, in which cells that cannot be read or are damaged are open, with a note about each. */
function readable(folder: SweepFolder, notes: string[]): SweepFolder {
  const open = { state: 'open' } as const;
  return {
    ...folder,
    state(cell) {
      const result = path.join(folder.cell(cell), FILES.result);
      try {
        const found = folder.state(cell);
        if (found.state === 'open' && existsSync(result)) {
          notes.push(`${result} is damaged, or of another experiment: it is left out`);
        }
        return found;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        notes.push(`${error.message}: it is left out`);
        return open;
      }
    },
  };
}

function addStudy(folder: string, { studies, transfers, notes }: Collected): void {
  const file = path.join(folder, FILES.result);
  let result: unknown;
  try {
    result = readJson(file);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`the study in ${folder} is left out: ${error.message}`);
    return;
  }
  if (result === undefined) {
    notes.push(`the study in ${folder} is not finished: it is left out`);
    return;
  }
  const transfer = transferResultSchema.safeParse(result);
  if (transfer.success) transfers.push({ folder, transfers: transfer.data.transfers });
  else if (isNoiseResult(result)) studies.push({ folder, result });
  else notes.push(`${file} is damaged: it is left out`);
}

const configSchema = z.object({
  name: z.string().optional().catch(undefined),
  training: z.object({ iterations: z.number() }).optional().catch(undefined),
});

function unfinishedRun(folder: string, seen: FirstSeen): UnfinishedRun {
  const file = (name: keyof typeof FILES): string => path.join(folder, FILES[name]);
  const config = configSchema.safeParse(
    tried((): unknown =>
      parsePlainYaml(readRegularFile(file('identity'), 2 ** 20).toString('utf8')),
    ),
  );
  const last = tried(() => readCsv(file('training')))?.at(-1);
  const ofLast = (column: string): number => numberIn(last?.[column] ?? '') ?? NaN;
  const parts = tried(() => readdirSync(file('parts'))) ?? [];
  const [iteration, loss] = [ofLast('iteration'), ofLast('loss')];
  const iterations = config.data?.training?.iterations;
  return {
    folder,
    name: config.data?.name,
    iterations,
    left: tried(() => trainingTimeLeft(folder, iteration, iterations, seen)),
    last:
      Number.isNaN(iteration) || Number.isNaN(loss)
        ? undefined
        : { iteration, loss, validation: numberIn(last?.validation_accuracy ?? '') },
    isTrained: existsSync(file('weights')),
    attacks: parts.flatMap((name) => /^([a-z0-9-]+)\.json$/.exec(name)?.[1] ?? []),
  };
}

function trainingTimeLeft(
  folder: string,
  iteration: number,
  iterations: number | undefined,
  seen: FirstSeen,
): number | undefined {
  const at = logTime(folder);
  if (at === undefined || iterations === undefined || !(iteration < iterations)) return undefined;
  const now = { done: iteration, at };
  const from = beginningIn(folder) ?? seen.get(folder);
  if (!from) seen.set(folder, now);
  return from && timeLeft(from, now, iterations);
}

/** A file that is being written may be missing for a moment. */
function tried<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
