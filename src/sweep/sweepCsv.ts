import { stringify } from 'csv-stringify/sync';
import { measuresOf } from '../metrics/quantities.js';
import { csvText, flat } from '../store/csv.js';
import { paretoFront, pointsOf, SURFACES, type SweepCell } from './summary.js';
import { valueText } from '../config/points.js';

/** `sweep.csv`: a line for each cell. */
export function sweepCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const lines = cells.map(({ id, values, seed, reference, state, row, origin, error }) => ({
    cell: id,
    ...valueColumns(keys, values),
    seed,
    reference: +reference,
    state,
    images: row?.images ?? '',
    blank: row?.blank ?? '',
    ...flat(measuresOf(row ? [row] : [])),
    seconds: origin === undefined ? '' : Number(origin.seconds.total.toFixed(1)),
    seconds_training: origin?.seconds.training?.toFixed(1) ?? '',
    engine: origin?.engine ?? '',
    threads: origin?.threads ?? '',
    cpu: origin?.cpu ?? '',
    bang: origin?.bang ?? '',
    finished: origin?.finished ?? '',
    weights: origin?.weights ?? '',
    error: error ?? '',
  }));
  return stringify(lines, { header: true });
}

/** The columns of the keys in a line of a CSV file. */
export function valueColumns(keys: readonly string[], values: readonly unknown[]) {
  return Object.fromEntries(keys.map((key, i) => [key, valueText(values[i])]));
}

/** `surfaces.csv`: a line for each point with means over seeds and their differences from the reference. */
export function surfacesCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const points = pointsOf(cells);
  const level = points.find(({ reference }) => reference)?.measures;
  const lines = points
    .filter(({ reference }) => !reference)
    .map(({ values, rows, measures }) => ({
      ...valueColumns(keys, values),
      seeds: rows.length,
      ...Object.fromEntries(SURFACES.map((name) => [name, csvText(name, measures[name]?.value)])),
      ...Object.fromEntries(
        SURFACES.map((name) => {
          const [own, other] = [measures[name]?.value, level?.[name]?.value];
          const above = own === undefined || other === undefined ? undefined : own - other;
          return [`${name}_minus_reference`, csvText(name, above)];
        }),
      ),
    }));
  return stringify(lines, { header: true });
}

/** `pareto.csv`: a line for each point of the Pareto front, the most accurate first. */
export function paretoCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const lines = paretoFront(pointsOf(cells)).map(({ values, rows, measures }) => ({
    ...valueColumns(keys, values),
    seeds: rows.length,
    accuracy: csvText('accuracy', measures.accuracy?.value),
    fgs_unmasked_linf: csvText('fgs_unmasked_linf', measures.fgs_unmasked_linf?.value),
    fgs_unmasked_rate: csvText('fgs_unmasked_rate', measures.fgs_unmasked_rate?.value),
  }));
  const columns = [...keys, 'seeds', 'accuracy', 'fgs_unmasked_linf', 'fgs_unmasked_rate'];
  return stringify(lines, { header: true, columns });
}
