// Numbers in sentences: one that is followed by `<!-- = SOURCE -->` is what SOURCE says, rounded as it is written.
// A source is one of these, or the difference of two, which is quoted without its sign:
//
//   table1/lenet-b1 accuracy             a column of results/table1/table.csv: the mean over seeds, ± its deviation
//   table1/lenet-b1/seed-1 fgs_rate      the same of one run
//   table1/lenet-b1/published fgs_rate   what the paper has
//   robustness/lenet-b1 auto ≤ 32        accuracy left within an L∞, in results/robustness; `clean` without one
//   distorted/lenet-b1                   noisy copies misclassified, in results/controls/noise.csv
//   transfer/lenet-r0-b1 apgd lenet-r0   what fools the other network, in percent of what fools this one
//   noise/lenet bang σ 100               distortions misclassified at the end of training, ± the error over images
//   grid/lenet accuracy least            of a column of sweep.csv: least, greatest, mean, reference; above (points
//                                        above the reference), and of the plane: explained (%), scatter
//   gap/table1 fgs_rate bang             how far the published rows of a table are at most from ours: those with bang, those
//                                        that are regular, or all; rounded up
//   outside table1                       values of a table that are published outside the prediction interval
import { csv, flipsOf, gridOf, leftWithin, noiseRate, ofTable } from './results.mjs';

/** @returns {Promise<{ value: number, deviation?: number, isBound?: boolean }>} */
async function quantityOf(source) {
  const [place, ...words] = source.split(' ');
  const [folder, name, seed] = place.split('/');
  switch (folder) {
    case 'robustness':
      return leftWithin(name, seed, words[0], Number(words[2]));
    case 'distorted':
      return noiseRate(name);
    case 'transfer':
      return { value: transferred(name, ...words) };
    case 'noise':
      return flipsOf(name, words[0], Number(words[2]));
    case 'grid':
      return { value: await ofGrid(name, ...words) };
    case 'gap':
      return { value: gap(name, ...words), isBound: true };
    case 'outside':
      return { value: outside(words[0]) };
    default:
      return ofTable(folder, name, seed, words[0]);
  }
}

async function ofGrid(name, column, what) {
  const { trends, valuesOf } = await gridOf(name);
  const trend = trends.find(({ quantity }) => [`${quantity}_mean`, quantity].includes(column));
  switch (what) {
    case 'least':
      return Math.min(...valuesOf(column));
    case 'greatest':
      return Math.max(...valuesOf(column));
    case 'mean':
      return trend.mean;
    case 'reference':
      return trend.reference.value;
    case 'above':
      return trend.reference.above;
    case 'explained':
      return 100 * trend.explained;
    case 'scatter':
      return trend.scatter;
    default:
      throw new Error(`nothing is called ${what}`);
  }
}

function transferred(name, attack, from) {
  const lines = csv('robustness', `transfer-${name}`, 'transfer.csv');
  return Number(lines.find((line) => line.attack === attack && line.from === from).rate);
}

function gap(folder, column, which = 'all') {
  const of = { bang: ({ row }) => row.startsWith('B'), regular: ({ row }) => row.startsWith('R') };
  const gaps = csv(folder, 'table.csv')
    .filter(({ source }) => source === 'difference')
    .filter(of[which] ?? (() => true))
    .map((line) => Math.abs(Number(line[column])));
  return Math.max(...gaps);
}

function outside(folder) {
  return csv(folder, 'table.csv').reduce(
    (sum, { outside: marked }) => sum + marked.split(' ').filter(Boolean).length,
    0,
  );
}

const MARKED = /([−-]?\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?<!-- = ([^>]+) -->/g;

/**
 * The text with each marked number as its source has it.
 *
 * @param {string} text
 * @param {(message: string) => void} differs called for each number that was not
 */
export async function quoted(text, differs) {
  let made = '';
  let end = 0;
  for (const found of text.matchAll(MARKED)) {
    const [all, number, deviation, sources] = found;
    const [first, second] = sources.split(' - ');
    const quantity = await quantityOf(first);
    if (second) quantity.value = Math.abs(quantity.value - (await quantityOf(second)).value);
    const right = [asWritten(quantity.value, number, quantity.isBound)];
    if (deviation !== undefined) right.push(asWritten(quantity.deviation, deviation));
    const written = deviation === undefined ? number : `${number} ± ${deviation}`;
    if (right.join(' ± ') !== written) differs(`${written} is ${right.join(' ± ')} in ${sources}`);
    made += `${text.slice(end, found.index)}${right.join(' ± ')}<!-- = ${sources} -->`;
    end = found.index + all.length;
  }
  return made + text.slice(end);
}

/** With as many decimals as a number that is written, to the nearest, or up. */
function asWritten(value, number, isBound = false) {
  const digits = number.split('.')[1]?.length ?? 0;
  return (isBound ? Math.ceil(value * 10 ** digits) / 10 ** digits : value).toFixed(digits);
}
