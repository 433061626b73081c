// What is read from results/.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'csv-parse/sync';
import { pointsOf } from '#bang/sweep/summary.js';
import { meanOf } from '#bang/base/sums.js';
import { sampleDeviation } from '#bang/metrics/statistics.js';
import { cellsIn } from '#bang/sweep/sweep.js';
import { planIn, sweepFolder } from '#bang/sweep/sweepFolder.js';
import { trendsOf } from '#bang/sweep/trends.js';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const results = path.join(root, 'results');

const files = new Map();

/** The lines of a CSV file in results/, as mappings. */
export function csv(...name) {
  const file = path.join(results, ...name);
  if (!files.has(file)) files.set(file, parse(readFileSync(file), { columns: true }));
  return files.get(file);
}

export function json(...name) {
  return JSON.parse(readFileSync(path.join(results, ...name), 'utf8'));
}

/** The line of an experiment in a table.csv: ours, over seeds, or published. */
export function lineOf(lines, name, source) {
  return lines.find((line) => line.name === name && line.source === source);
}

/**
 * A column of the paper's tables: its mean over seeds, and its deviation over them.
 *
 * @param seed undefined for all seeds; 'published' for what the paper has
 */
export function ofTable(folder, name, seed, column) {
  if (seed === 'published') {
    return { value: numberIn(lineOf(csv(folder, 'table.csv'), name, seed), column) };
  }
  const lines = seed ? csv(folder, name, seed, 'table.csv') : csv(folder, 'table.csv');
  const line = lineOf(lines, name, 'bang');
  if (!line) throw new Error(`results/${folder} has no ${name}`);
  const over = lineOf(lines, name, 'over seeds');
  return {
    value: numberIn(line, column),
    deviation: over && numberIn(over, column),
    seeds: line.seeds?.split(' ').length ?? 1,
  };
}

function numberIn(line, column) {
  const text = line[column];
  if (text === undefined) throw new Error(`there is no column ${column}`);
  return text === '' ? NaN : Number(text);
}

/**
 * The accuracy that is left within an L∞, the mean over seeds.
 *
 * @param attack `auto`, or one of those in robustness.csv, such as `fgs`; 'clean' for accuracy
 */
export function leftWithin(name, seed, attack, budget) {
  const all = readdirSync(path.join(results, 'robustness', name)).filter((one) =>
    one.startsWith('seed-'),
  );
  const folders = seed ? [seed] : all.length > 0 ? all : ['.'];
  const values = folders.map((folder) => {
    const at = ['robustness', name, folder];
    if (attack === 'clean') return Number(csv(...at, 'robustness.csv')[0].accuracy);
    const line =
      attack === 'auto'
        ? csv(...at, 'budgets.csv').find((one) => one.norm === 'linf' && +one.budget === budget)
        : csv(...at, 'robustness.csv').find(
            (one) => one.attack === attack && +one.budget === budget,
          );
    if (!line) throw new Error(`${at.join('/')} has nothing of ${attack} within ${budget}`);
    return Number(line.robust_accuracy);
  });
  return { value: meanOf(values), seeds: values.length };
}

/** The percentage of noisy copies that a training of results/controls misclassifies: its mean, and its deviation over seeds. */
export function noiseRate(name) {
  const rates = csv('controls', 'noise.csv')
    .filter((line) => line.name === name)
    .map(({ rate }) => Number(rate));
  return overSeeds(rates);
}

/** A mean, and the deviation of several values. */
function overSeeds(values) {
  if (values.length === 0) return { value: NaN, seeds: 0 };
  const deviation = sampleDeviation(values) ?? undefined;
  return { value: meanOf(values), deviation, seeds: values.length };
}

/** A column of a sweep's cells with these values, as CSV has them: over the seeds that are done. */
export function ofPoint(name, settings, column) {
  const lines = csv('grids', name, 'sweep.csv').filter(
    (line) =>
      line.state === 'done' && Object.entries(settings).every(([key, text]) => line[key] === text),
  );
  return overSeeds(lines.map((line) => numberIn(line, column)));
}

/** The percentage of distortions that are misclassified at the end of training, and its standard error over images. */
export function flipsOf(study, network, sigma) {
  const lines = csv('noise', study, 'noise.csv').filter(
    (line) => line.network === network && +line.sigma === sigma,
  );
  const last = lines.at(-1);
  return { value: Number(last.rate), deviation: Number(last.standard_error) };
}

/** The σ of a study. */
export function sigmasOf(study) {
  return [...new Set(csv('noise', study, 'noise.csv').map(({ sigma }) => Number(sigma)))];
}

/** The planes over a sweep, and the values of a column of sweep.csv at its points. */
export async function gridOf(name) {
  const out = path.join(results, 'grids', name);
  const plan = await planIn(out);
  return {
    ...trendsOf(plan.keys, pointsOf(cellsIn(plan, sweepFolder(out, plan)))),
    valuesOf: (column) =>
      csv('grids', name, 'sweep.csv')
        .filter(({ reference }) => reference !== '1')
        .map((line) => numberIn(line, column)),
  };
}
