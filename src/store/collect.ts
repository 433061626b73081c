import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { codeOf, UserError } from '../base/errors.js';
import { readJson, reason } from '../base/files.js';
import { groupedBy } from '../base/groups.js';
import { didYouMean } from '../base/nearFile.js';
import { inWords, printable } from '../base/text.js';
import { publishedTable } from '../paper/published.js';
import { FILES, STUDY_FILE } from './resultFolder.js';
import { tellingApart } from './labels.js';
import { BESIDE, canonical, without } from './identity.js';
import { type Entry, entryOf, nameOverSeeds } from './entry.js';
import { isResult, type Result } from './result.js';
import path from 'node:path';

/** A finished run and its folder. */
export interface FoundRun {
  folder: string;
  result: Result;
}

export interface Found {
  runs: FoundRun[];
  /** Folders of runs without a result. */
  unfinished: string[];
  /** Results and folders that cannot be read, and why. */
  unreadable: string[];
}

/**
 * The finished runs in folders and below them, in the order of their names.
 *
 * @param isOther whether to skip a folder and everything below it
 * @throws UserError if one of the folders does not exist or cannot be read
 */
export function findRuns(
  folders: readonly string[],
  isOther: (folder: string) => boolean = isStudy,
): Found {
  const found: Found = { runs: [], unfinished: [], unreadable: [] };
  const visited = new Set<string>();
  const visit = (folder: string): void => {
    let identity: string;
    try {
      identity = realpathSync(folder);
    } catch (error) {
      // It was there when it was listed.
      found.unreadable.push(whyUnreadable(folder, error));
      return;
    }
    if (visited.has(identity)) return;
    visited.add(identity);
    if (isOther(folder)) return;
    lookInto(folder, found);
    for (const name of subfoldersOf(folder, found)) visit(path.join(folder, name));
  };
  for (const folder of folders) {
    refuseNoFolder(folder);
    visit(folder);
  }
  return found;
}

/** Whether a folder is a study's. The networks in it are trained, but not evaluated. */
export function isStudy(folder: string): boolean {
  return existsSync(path.join(folder, STUDY_FILE));
}

/** More unfinished runs than this in one folder, such as the cells that a sweep stopped early, share a note. */
const NAMED_ALONE = 3;

/** Notes about all that is left out. */
export function leftOut({ unfinished, unreadable }: Omit<Found, 'runs'>): string[] {
  const open = [...groupedBy(unfinished, (folder) => path.dirname(folder))].flatMap(
    ([parent, runs]) =>
      runs.length > NAMED_ALONE
        ? [`${runs.length} runs in ${parent} are not finished: they are left out`]
        : runs.map((folder) => `${folder} is not finished: it is left out`),
  );
  return [...unreadable.map((why) => `${why}: it is left out`), ...open];
}

/** @throws UserError if a folder does not exist, is not a folder or cannot be read */
export function refuseNoFolder(folder: string, kind: 'folder' | 'either' = 'folder'): void {
  try {
    if (statSync(folder).isDirectory()) {
      readdirSync(folder);
      return;
    }
  } catch (error) {
    const why = codeOf(error) === 'ENOENT' ? 'there is no such folder' : reason(error);
    throw new UserError(`cannot read ${folder}: ${why}${didYouMean(folder, error, kind)}`);
  }
  throw new UserError(`cannot read ${folder}: it is not a folder`);
}

function lookInto(folder: string, { runs, unfinished, unreadable }: Found): void {
  const file = path.join(folder, FILES.result);
  if (!existsSync(file)) {
    if (isRunFolder(folder)) unfinished.push(folder);
    return;
  }
  try {
    const result = readJson(file);
    if (isResult(result)) runs.push({ folder, result });
    else unreadable.push(`${file} is damaged`);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    unreadable.push(error.message);
  }
}

/** Whether a folder is that of a single run, finished or not. */
export function isRunFolder(folder: string): boolean {
  return [FILES.identity, FILES.result].some((name) => existsSync(path.join(folder, name)));
}

/** The names of subfolders, without links and hidden folders. */
function subfoldersOf(folder: string, { unreadable }: Found): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .sort(byName);
  } catch (error) {
    unreadable.push(whyUnreadable(folder, error));
    return [];
  }
}

function whyUnreadable(folder: string, error: unknown): string {
  return `${folder} cannot be read (${reason(error)})`;
}

/** Runs of one experiment, which differ only in the seed. */
export type Group = FoundRun[];

/**
 * Groups runs that differ only in the seed, in the order of seeds. Runs with different data, protocols
 * or numbers of images are in different groups.
 *
 * @returns also a note for each run that is left out because another has the same seed
 */
export function groupRuns(runs: readonly FoundRun[]): { groups: Group[]; notes: string[] } {
  const groups = new Map<string, Group>();
  const notes: string[] = [];
  for (const run of runs) {
    const key = experimentKey(run.result);
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    const same = group.find(({ result }) => result.config.seed === run.result.config.seed);
    if (same) {
      notes.push(
        `${run.folder} is of the same experiment and seed as ${same.folder}: only the latter counts`,
      );
    } else {
      group.push(run);
    }
  }
  for (const group of groups.values()) group.sort((a, b) => seedOf(a) - seedOf(b));
  return { groups: [...groups.values()], notes };
}

function seedOf({ result }: FoundRun): number {
  return result.config.seed ?? 0;
}

/** A key of everything except the seed on which a run's numbers and its line of a table depend. */
export function experimentKey(result: Result): string {
  const { config, row, weights, data } = result;
  return canonical([
    nameOverSeeds(result),
    config.published,
    row.protocol,
    row.images,
    data.sha256,
    // The training and seed of weights from elsewhere are unknown.
    config.seed === undefined ? weights : null,
    without(config, BESIDE),
  ]);
}

/**
 * Groups as tables in the paper's order, with entries for rows without a run. Groups of one row are
 * sorted: those measured as in the paper come first. Groups that are not in the paper come last.
 */
export function tablesOf(groups: readonly Group[]): CollectedPart[] {
  const named = distinct(groups);
  const parts: CollectedPart[] = [];
  let rest = named;
  for (const table of [1, 2] as const) {
    const inPaper = named.filter(({ entry }) => entry.published?.table === table);
    if (inPaper.length === 0) continue;
    const alike = ({ group, entry }: Named): boolean =>
      !entry.published && inPaper.some((other) => sameModel(other.group, group));
    const { model, dataset, rows } = publishedTable(table);
    const entries = rows.flatMap((row) => {
      const ours = inPaper.filter(({ entry }) => entry.published!.id === row.id);
      return ours.length > 0 ? inOrder(ours) : [{ group: [], entry: noRun(row) }];
    });
    const title = `Table ${table}: ${model} on ${dataset}`;
    parts.push(partOf(title, [...entries, ...inOrder(rest.filter(alike))]));
    rest = rest.filter((one) => !inPaper.includes(one) && !alike(one));
  }
  if (rest.length > 0) parts.push(partOf('Not in the paper', inOrder(rest)));
  return parts;
}

/** A table with its title: one of the paper's, or a table of experiments that are in neither. */
export interface TablePart {
  title: string;
  entries: Entry[];
}

/** A table, and the runs of each of its entries. */
export interface CollectedPart extends TablePart {
  groups: Group[];
}

function partOf(title: string, named: readonly Named[]): CollectedPart {
  return {
    title,
    entries: named.map(({ entry }) => entry),
    groups: named.map(({ group }) => group),
  };
}

interface Named {
  group: Group;
  entry: Entry;
}

/** The groups as entries, of which no two have the same name and labels: these say what differs. */
function distinct(groups: readonly Group[]): Named[] {
  const all = groups.map((group) => ({ group, entry: entryOf(group.map(({ result }) => result)) }));
  const apart = labelled(all, (alike) =>
    tellingApart(alike.map(([{ result }]) => result)).map((labels) => labels.map(printable)),
  );
  // Not told apart by what is printed of their configs.
  const placed = labelled(apart, (alike) =>
    alike.map((group) => [`in ${printable(commonFolder(group))}`]),
  );
  return labelled(placed, (alike) => alike.map((_, i) => [`number ${i + 1}`]));
}

/** Adds labels to entries of equal names and labels. */
function labelled(
  all: readonly Named[],
  labelsOf: (alike: readonly Group[]) => string[][],
): Named[] {
  const byLook = groupedBy(all, ({ entry: { name, labels } }) => JSON.stringify([name, labels]));
  const more = new Map<Named, string[]>();
  for (const alike of byLook.values()) {
    if (alike.length === 1) continue;
    const labels = labelsOf(alike.map(({ group }) => group));
    alike.forEach((one, i) => more.set(one, labels[i]));
  }
  return all.map((one) => {
    const labels = [...one.entry.labels, ...(more.get(one) ?? [])];
    return { ...one, entry: { ...one.entry, labels } };
  });
}

function commonFolder([first, ...others]: Group): string {
  const parts = first.folder.split(path.sep);
  const common = parts.findIndex((part, i) =>
    others.some(({ folder }) => folder.split(path.sep)[i] !== part),
  );
  return (common < 0 ? parts : parts.slice(0, common)).join(path.sep) || '.';
}

function inOrder(named: readonly Named[]): Named[] {
  const foreign = ({ entry }: Named): number => entry.labels.length;
  return named.toSorted((a, b) => foreign(a) - foreign(b) || byName(a.entry.name, b.entry.name));
}

function noRun(published: NonNullable<Entry['published']>): Entry {
  return { name: '', labels: [], beta: '', epsilon: '', rows: [], seeds: [], published };
}

function sameModel([a]: Group, [b]: Group): boolean {
  return isDeepStrictEqual(
    [a.result.config.model, a.result.config.data],
    [b.result.config.model, b.result.config.data],
  );
}

function byName(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** @throws UserError if there are no runs */
export function refuseNothing(
  { runs, unfinished, unreadable }: Found,
  folders: readonly string[],
): void {
  if (runs.length > 0) return;
  const reasons = [...unreadable, ...unfinished.map((folder) => `${folder} is not finished`)];
  const named = reasons.slice(0, NAMED_ALONE).join(', ');
  const more = reasons.length > NAMED_ALONE ? `, and ${reasons.length - NAMED_ALONE} more` : '';
  const why = named === '' ? '' : `: ${named}${more}`;
  throw new UserError(`no finished run in ${inWords(folders)} or below${why}`);
}
