import { z } from 'zod';
import { ATTACK_NAMES } from '../../attacks/attack.js';
import { ATTACKS } from '../../attacks/attacks.js';
import { textWidth } from './font.js';
import { optionalNumber, positive, type FigureKind } from './rows.js';
import { chunks, EMPTY, FAINT, FILL, INK, panelWidth, TEXT, WIDER_FONT } from './theme.js';

/**
 * How many of the correctly classified images have a smallest L∞ of `from` ≤ L∞ < `to` grey levels under an
 * attack; `from` and `to` are null for images that it does not fool.
 */
const linfRow = z.object({
  network: z.string(),
  seed: optionalNumber,
  attack: z.enum(ATTACK_NAMES),
  from: optionalNumber,
  to: optionalNumber,
  images: positive,
});
export type LinfRow = z.infer<typeof linfRow>;

/** Half octaves of the integers. */
const EDGES = [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256];

/** @param linf of every attacked image, in grey levels; NaN where the attack failed */
export function linfBins(linf: readonly number[]): Pick<LinfRow, 'from' | 'to' | 'images'>[] {
  const bins = EDGES.slice(1).map((to, i) => ({
    from: EDGES[i],
    to,
    images: linf.filter((value) => value >= EDGES[i] && value < to).length,
  }));
  return [...bins, { from: null, to: null, images: linf.filter(Number.isNaN).length }];
}

const HEIGHT = 46;
/** Over the bars: how many are fooled at all, as a bar across and as text. */
const STRIP = { space: 24, at: 14, height: 4 };
/** Attacks side by side; more go below. */
const COLUMNS = { wide: 4, narrow: 2 };
const SPACE = 14;
/** Over that, the name of the network, where it is narrow. */
const NAME = 15;
/** Longer ones are cut. */
const LONGEST_NAME = 240;

/**
 * Histograms of the smallest L∞: a row for each network, its name before it or, where it is narrow, above; a column for
 * each attack.
 */
export const linf: FigureKind<LinfRow> = {
  row: linfRow,
  spec(rows, layout) {
    const runOf = namesOf(rows);
    const runs = [...new Set(rows.map(runOf))];
    const attacks = ATTACK_NAMES.filter((name) => rows.some(({ attack }) => attack === name));
    const most = layout.isNarrow ? COLUMNS.narrow : COLUMNS.wide;
    const blocks = chunks(attacks, most);
    const columns = Math.min(attacks.length, most);
    const names = layout.isNarrow
      ? 0
      : Math.min(Math.max(...runs.map((run) => textWidth(run, TEXT.panel, true))), LONGEST_NAME);
    const spare = Math.round(WIDER_FONT * names);
    const width = panelWidth(layout, columns, SPACE, names + spare);
    const lower = layout.isNarrow ? NAME : 0;
    const space = STRIP.space + lower;
    const at = STRIP.at + lower;
    const summed = summedOverSeeds(rows);
    const panels = summed.map((row) => {
      const all = summed.filter(
        (other) => other.attack === row.attack && runOf(other) === runOf(row),
      );
      const attacked = all.reduce((sum, { images }) => sum + images, 0);
      const percent = attacked === 0 ? 0 : (100 * row.images) / attacked;
      return { ...row, run: runOf(row), attack: ATTACKS[row.attack].title, percent };
    });
    const bars = panels.filter(({ from }) => from !== null);
    const failures = panels
      .filter(({ from }) => from === null)
      .map((panel) => ({
        ...panel,
        fooled: (width * (100 - panel.percent)) / 100,
        text: panel.images === 0 ? 'all fooled' : `${panel.percent.toFixed(2)} % not fooled`,
      }));
    // Facets close gaps: without these placeholders, other panels would move into the empty places.
    const absent = (block: readonly (typeof attacks)[number][]) => {
      const titles = block.map((name) => ATTACKS[name].title);
      const there = failures.filter(({ attack }) => titles.includes(attack));
      const blockRuns = runs.filter((run) => there.some((panel) => panel.run === run));
      return blockRuns.flatMap((run) =>
        titles
          .filter((attack) => !there.some((panel) => panel.run === run && panel.attack === attack))
          .map((attack) => ({ run, attack, from: null, text: 'not measured' })),
      );
    };
    // Of each network, in the first of its panels.
    const named = <T extends { run: string; attack: string }>(first: string, all: readonly T[]) =>
      all.map((panel) => ({
        ...panel,
        ...(layout.isNarrow && panel.attack === first && { name: panel.run }),
      }));
    const top = Math.max(...bars.map(({ percent }) => percent), 1);
    return {
      description: 'Histograms of the smallest L∞ by which each attack fools each network',
      vconcat: blocks.map((block) => {
        const titles = block.map((name) => ATTACKS[name].title);
        const within = <T extends { attack: string }>(all: readonly T[]) =>
          all.filter(({ attack }) => titles.includes(attack));
        return {
          data: {
            values: [
              ...within(bars),
              ...named(titles[0], within(failures)),
              ...named(titles[0], absent(block)),
            ],
          },
          // A name goes beyond its panel.
          ...(layout.isNarrow && { bounds: 'flush' as const }),
          spacing: { column: SPACE, row: 8 },
          facet: {
            row: {
              field: 'run',
              sort: runs,
              header: {
                title: null,
                labelAngle: 0,
                labelAlign: 'left',
                labelLimit: LONGEST_NAME,
                labelPadding: 4 + spare,
                labels: !layout.isNarrow,
              },
            },
            column: { field: 'attack', sort: titles, header: { title: null, labelPadding: 2 } },
          },
          spec: {
            width,
            height: HEIGHT + space,
            layer: [
              {
                transform: [{ filter: 'isValid(datum.from)' }],
                mark: { type: 'rect', color: FILL },
                encoding: {
                  x: {
                    field: 'from',
                    type: 'quantitative',
                    scale: { type: 'log', base: 2, domain: [1, 256], nice: false },
                    axis: {
                      title: width < 170 ? 'L∞ (grey levels) →' : 'L∞ (grey levels) → better',
                      values: layout.isNarrow ? [1, 4, 16, 64] : [1, 4, 16, 64, 256],
                      format: 'd',
                      grid: false,
                      labelFlush: true,
                    },
                  },
                  x2: { field: 'to' },
                  y: {
                    field: 'percent',
                    type: 'quantitative',
                    scale: {
                      domain: [0, top],
                      nice: true,
                      range: [HEIGHT + space, space],
                    },
                    axis: { title: '% of images', tickCount: 3 },
                  },
                  y2: { datum: 0 },
                },
              },
              {
                transform: [{ filter: 'isValid(datum.fooled)' }],
                mark: { type: 'rect', color: EMPTY, height: STRIP.height, y: at },
                encoding: { x: { value: 0 }, x2: { value: width } },
              },
              {
                transform: [{ filter: 'isValid(datum.fooled)' }],
                mark: { type: 'rect', color: FAINT, y: at, height: STRIP.height },
                encoding: {
                  x: { value: 0 },
                  x2: { field: 'fooled', type: 'quantitative', scale: null },
                },
              },
              {
                transform: [{ filter: 'isValid(datum.text)' }],
                mark: {
                  type: 'text',
                  align: 'right',
                  baseline: 'bottom',
                  x: width,
                  y: at - 2,
                  fontSize: TEXT.label,
                  color: INK,
                },
                encoding: { text: { field: 'text' } },
              },
              {
                transform: [{ filter: 'isValid(datum.name)' }],
                mark: {
                  type: 'text',
                  align: 'left',
                  baseline: 'top',
                  x: 0,
                  y: 0,
                  fontSize: TEXT.panel,
                  fontWeight: 'bold',
                  limit: LONGEST_NAME,
                  color: INK,
                },
                encoding: { text: { field: 'name' } },
              },
            ],
          },
        };
      }),
    };
  },
};

/** The label of each network, with the number of its seeds, whose images are counted together. */
function namesOf(rows: readonly LinfRow[]): (row: LinfRow) => string {
  const seeds = new Map<string, Set<number | null>>();
  for (const { network, seed } of rows) {
    seeds.set(network, (seeds.get(network) ?? new Set()).add(seed));
  }
  return ({ network }) => {
    const { size } = seeds.get(network)!;
    return size === 1 ? network : `${network}, ${size} seeds`;
  };
}

/** Rows of one network and attack with the bins of all seeds added up. */
function summedOverSeeds(rows: readonly LinfRow[]): LinfRow[] {
  const sums = new Map<string, LinfRow>();
  for (const row of rows) {
    const { network, attack, from, to } = row;
    const key = JSON.stringify([network, attack, from, to]);
    const images = (sums.get(key)?.images ?? 0) + row.images;
    sums.set(key, { ...row, images });
  }
  return [...sums.values()];
}
