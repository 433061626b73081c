import { type QuantityChange, type ImageChanges, NOISE, type RunDiff } from '../check/diff.js';
import { counted, printable } from '../base/text.js';
import { drawGrid, type Grid } from './grid.js';
import { numberText, telling } from './numbers.js';
import type { OverSeeds } from '../metrics/quantities.js';
import { jsonText } from '../base/files.js';

/** The changes as text for a console. */
export function diffText(a: string, b: string, diff: RunDiff): string {
  const { config, provenance, sameWeights, changes, noise, images, notes } = diff;
  const moved = changes.filter((change) => change.difference !== 0);
  const same = changes.length - moved.length;
  const changed = (title: string, list: RunDiff['config']): string[] =>
    list.map(({ key, was, is }) => printable(`${title} ${key} was ${was}, is ${is}`));
  const head = [
    `A ${a}`,
    `B ${b}`,
    ...(config.length === 0 ? ['config: the same'] : changed('config:', config)),
    ...changed('provenance:', provenance),
    ...(sameWeights === null
      ? []
      : [sameWeights ? 'weights: the same, bit for bit' : 'weights: different']),
  ];
  const rest = [
    ...(same === 0 ? [] : [`${counted(same, 'number is', 'numbers are')} the same`]),
    ...(noise === null || moved.length === 0
      ? []
      : [`what is within noise (${NOISE} standard deviations) is judged by ${noise}`]),
    ...(images ? imageLines(images) : []),
    ...notes.map((note) => printable(`note: ${note}`)),
  ];
  return [
    ...head,
    ...(moved.length === 0 ? [] : [drawGrid(changeGrid(moved, noise !== null))]),
    ...rest,
  ].join('\n');
}

function changeGrid(moved: readonly QuantityChange[], withNoise: boolean): Grid {
  return {
    columns: [
      { title: [''], align: 'left' },
      ...['A', 'B', 'B − A'].map((title) => ({ title: [title] })),
      ...(withNoise ? [{ title: ['in deviations'] }, { title: [''], align: 'left' as const }] : []),
    ],
    rows: moved.map(({ quantity, a, b, difference, deviations }) => {
      const text = (value: OverSeeds | null): string =>
        value ? numberText(value.mean, quantity) : '–';
      const by = difference === null ? '–' : tellingSigned(difference, quantity.digits);
      const noise =
        deviations === null
          ? ['–', '']
          : Number.isFinite(deviations)
            ? [
                tellingSigned(deviations, 1),
                Math.abs(deviations) <= NOISE ? 'within noise' : 'moved',
              ]
            : ['–', 'moved (no scatter over seeds)'];
      const texts = [quantity.name, text(a), text(b), by, ...(withNoise ? noise : [])];
      return texts.map((one) => ({ text: one }));
    }),
  };
}

function imageLines({ images, predicted, blank, columns }: ImageChanges): string[] {
  const { changed, toWrong, toRight } = predicted;
  const lines = [
    `of ${counted(images, 'image')}, the prediction of ${changed} changed: ${toWrong} are now wrong, ${toRight} are now right`,
    `blank gradients: ${blank.became} more, ${blank.ceased} less`,
  ];
  for (const { column, changed, gained, lost, most } of columns) {
    if (changed === 0) continue;
    const by = changed > gained + lost ? `, by at most ${telling(most, 4)}` : '';
    lines.push(
      `${column}: changed on ${counted(changed, 'image')}, ${gained} new, ${lost} gone${by}`,
    );
  }
  return lines;
}

function tellingSigned(value: number, digits: number): string {
  const text = telling(value, digits);
  return value > 0 ? `+${text}` : text;
}

/** The output of `bang diff --json`. */
export function diffJson(a: string, b: string, { changes, ...rest }: RunDiff): string {
  const value = {
    format: 1,
    a,
    b,
    ...rest,
    figures: changes.map(({ quantity, deviations, ...change }) => ({
      figure: quantity.name,
      ...change,
      deviations,
      // Not a number where nothing scatters.
      withinNoise: deviations === null ? null : Math.abs(deviations) <= NOISE,
    })),
  };
  return jsonText(value);
}
