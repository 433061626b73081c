import { toCsv } from '../store/csvFile.js';
import {
  type MeasuredQuantity,
  type Measures,
  measuresOf,
  robustAccuraciesOf,
} from '../metrics/quantities.js';
import { csvField, flat } from '../store/csv.js';
import {
  paretoFront,
  pointsOf,
  robustnessAxis,
  surfacesOf,
  type SweepCell,
  withSeedsOf,
} from './summary.js';
import { valueText } from '../config/points.js';

/** `sweep.csv`: a line for each cell. */
export function sweepCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const robust = robustAccuraciesOf(cells.flatMap(({ row }) => row ?? []));
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
    ...numberColumns(robust, measuresOf(row ? [row] : [])),
  }));
  return toCsv(lines);
}

/** The columns of the keys in a line of a CSV file. */
export function valueColumns(keys: readonly string[], values: readonly unknown[]) {
  return Object.fromEntries(keys.map((key, i) => [key, valueText(values[i])]));
}

/** A column for the value of each quantity. */
function numberColumns(names: readonly MeasuredQuantity[], measures: Measures) {
  return Object.fromEntries(names.map((name) => [name, csvField(name, measures[name]?.value)]));
}

/** `surfaces.csv`: a line for each point with means over seeds and their differences from the reference. */
export function surfacesCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const points = pointsOf(cells);
  const surfaces = surfacesOf(points);
  const reference = points.find((point) => point.reference);
  const lines = points
    .filter((point) => point !== reference)
    .map((point) => {
      const { values, rows, measures } = point;
      // Over the seeds that both have, or the difference would be partly that of seeds.
      const own = reference && withSeedsOf(point, reference).measures;
      const level = reference && withSeedsOf(reference, point).measures;
      return {
        ...valueColumns(keys, values),
        seeds: rows.length,
        ...numberColumns(surfaces, measures),
        ...Object.fromEntries(
          surfaces.map((name) => {
            const [value, other] = [own?.[name]?.value, level?.[name]?.value];
            const above = value === undefined || other === undefined ? undefined : value - other;
            return [`${name}_minus_reference`, csvField(name, above)];
          }),
        ),
      };
    });
  return toCsv(lines);
}

/** `pareto.csv`: a line for each point of the Pareto front, the most accurate first. */
export function paretoCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const points = pointsOf(cells);
  const always = ['accuracy', 'fgs_unmasked_linf', 'fgs_unmasked_rate'] as const;
  const shown = [...new Set<MeasuredQuantity>([...always, robustnessAxis(points)])];
  const lines = paretoFront(points).map(({ values, rows, measures }) => ({
    ...valueColumns(keys, values),
    seeds: rows.length,
    ...numberColumns(shown, measures),
  }));
  const columns = [...keys, 'seeds', ...shown];
  return toCsv(lines, columns);
}
