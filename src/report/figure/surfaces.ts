import { z } from 'zod';
import { NORM_TITLES } from '../../attacks/attack.js';
import { extentOf } from '../../base/sums.js';
import { isRobustAccuracy, quantity, type RobustAccuracy } from '../../metrics/quantities.js';
import { SURFACES } from '../../sweep/summary.js';
import { areScattered } from '../../sweep/trends.js';
import { heatGrid, type HeatMap, heatPanel } from './heatMap.js';
import { number, optionalNumber, type FigureKind } from './rows.js';

const PANELS: Record<TableSurface, { title: string; digits: number }> = {
  accuracy: { title: 'Accuracy (%)', digits: 1 },
  fgs_rate: { title: 'FGS-Rate (%)', digits: 1 },
  hc1_pass: { title: 'Mean HC1-PASS', digits: 2 },
  fgs_unmasked_linf: { title: 'Mean unmasked FGS-L∞', digits: 1 },
};

type TableSurface = (typeof SURFACES)[number];
type Surface = TableSurface | RobustAccuracy;

function panelOf(surface: Surface): { title: string; digits: number } {
  if (!isRobustAccuracy(surface)) return PANELS[surface];
  const { norm, budget } = quantity(surface).within!;
  return { title: `Accuracy (%) at ${NORM_TITLES[norm]} ≤ ${budget}`, digits: 1 };
}

/** Which direction is good for the network. */
function arrow(surface: Surface): string {
  const { better } = quantity(surface);
  return better === null ? '' : better === 'more' ? ' ↑ better' : ' ↓ better';
}

/** A number of the table at a point of a sweep over two keys, as the mean over seeds. */
const surfaceRow = z.object({
  surface: z.union([
    z.enum(SURFACES),
    z.custom<RobustAccuracy>((text) => isRobustAccuracy(String(text))),
  ]),
  x_key: z.string(),
  x: z.string(),
  y_key: z.string(),
  y: z.string(),
  seeds: number,
  value: optionalNumber,
  /** Of the sweep's reference, which is regular training; null without one. */
  reference: optionalNumber,
});
export type SurfaceRow = z.infer<typeof surfaceRow>;

/** Heat maps over two keys, such as β and ε, with the level of the reference. */
export const surfaces: FigureKind<SurfaceRow> = {
  row: surfaceRow,
  spec(rows, layout) {
    const surfaces = [
      ...SURFACES,
      ...new Set(rows.flatMap(({ surface }) => (isRobustAccuracy(surface) ? surface : []))),
    ];
    const drawn = surfaces
      .map((name) => ({
        name,
        rows: rows.flatMap(({ value, ...row }) =>
          row.surface === name && value !== null ? [{ ...row, value }] : [],
        ),
      }))
      .filter((surface) => surface.rows.length > 0);
    const panels = drawn.map(({ name, rows: cells }) => {
      const { title, digits } = panelOf(name);
      const unit = name === 'fgs_unmasked_linf' ? ['grey levels'] : [];
      const [{ x_key, y_key, reference }] = cells;
      const quiet = areScattered(
        cells.map(({ x, y, value }) => ({ x: Number(x), y: Number(y), value })),
      );
      const level = reference === null ? [] : [`regular ${reference.toFixed(digits + 1)}, ● above`];
      const scatter = quiet ? ['mostly scatter: faint colours'] : [];
      const map: HeatMap = {
        title: `${title}${arrow(name)}`,
        subtitle: [[...unit, ...level].join('; '), ...scatter].filter((line) => line !== ''),
        quiet,
        x: { title: symbolOf(x_key), values: inOrder(cells.map(({ x }) => x)) },
        y: { title: symbolOf(y_key), values: inOrder(cells.map(({ y }) => y)) },
        cells: cells.map(({ x, y, value }) => ({
          x,
          y,
          value,
          marked: reference !== null && value > reference,
        })),
        domain: extentOf(cells.map(({ value }) => value)),
        digits,
      };
      return heatPanel(map, layout);
    });
    return heatGrid('Heat maps of a sweep over two keys', panels, layout);
  },
};

const SYMBOLS: ReadonlyMap<string, string> = new Map([
  ['training.bang.beta', 'β'],
  ['training.bang.epsilon', 'ε'],
]);

function symbolOf(key: string): string {
  return SYMBOLS.get(key) ?? key;
}

/** Numbers ascending, other values in their order. */
function inOrder(all: readonly string[]): string[] {
  const values = [...new Set(all)];
  return values.some((value) => Number.isNaN(Number(value)))
    ? values
    : values.sort((a, b) => Number(a) - Number(b));
}
