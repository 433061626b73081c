import { PROTOCOL, type Protocol } from '../attacks/attack.js';
import type { Row } from '../metrics/row.js';
import { counted, printable } from '../base/text.js';
import { type Config, isBang } from '../config/experiment.js';
import { type PublishedRow, publishedRow } from '../paper/published.js';
import { departuresFrom } from './labels.js';
import { isOtherData, type Result } from './result.js';
import type { Epsilon } from '../training/bang.js';

/** One experiment in a table, with the published row if the paper has it. */
export interface Entry {
  /** Empty for an experiment that has not been run. */
  name: string;
  /**
   * How it differs from the published row, in what is measured and in its training, and from other experiments of
   * its name.
   */
  labels: string[];
  /** Whether it is measured or trained otherwise than the published rows. */
  differs?: boolean;
  /** Whether its network, data or training departs from the published row's, so that there is no difference. */
  departs?: boolean;
  /** A number, or one for each layer; empty for regular training. */
  beta: string;
  epsilon: string;
  /** One for each seed; none if the experiment has not been run. */
  rows: Row[];
  /** Those that are known. */
  seeds: number[];
  published?: PublishedRow;
}

/** The name of an entry with what tells it from others. */
export function entryTitle({ name, labels }: Pick<Entry, 'name' | 'labels'>): string {
  return labels.length === 0 ? name : `${name} (${labels.join(', ')})`;
}

/** The label of what was measured on other images than MNIST's or CIFAR-10's, in files of their format. */
export const OTHER_DATA = 'other data';

/** The number of test images in the published rows. */
const PUBLISHED_IMAGES = 10_000;

/**
 * The runs of one experiment, one for each seed, as an entry of a table, with the published row if the
 * config names it.
 *
 * @param results at least one; the first provides what does not depend on the seed
 */
export function entryOf(results: readonly Result[]): Entry {
  const [{ name, config }] = results;
  const { published, training } = config;
  const bang = training && isBang(config as Config) ? training.bang : undefined;
  const rows = results.map(({ row }) => row);
  const row = published && publishedRow(published.table, published.row);
  const departures = row ? departuresFrom(row, config) : [];
  const { logitScale } = config.evaluation ?? {};
  const scaled = logitScale === undefined ? [] : [`logits × ${logitScale}`];
  const isOwn = typeof config.model === 'object';
  const images = !isOwn && isOtherData(results[0].data) ? [OTHER_DATA] : [];
  const labels = [...labelsOf(rows[0], isOwn), ...scaled, ...images, ...departures.map(printable)];
  return {
    name: printable(results.length > 1 ? nameOverSeeds(results[0]) : name),
    labels,
    differs: labels.length > 0,
    departs: row !== undefined && departures.length + images.length > 0,
    beta: layersText(bang?.beta),
    epsilon: layersText(bang?.epsilon),
    rows,
    seeds: results.flatMap(({ config: { seed } }) => seed ?? []),
    published: row,
  };
}

/** The name of a run without the seed that a sweep puts into the names of its cells. */
export function nameOverSeeds({ name, config: { seed } }: Pick<Result, 'name' | 'config'>): string {
  const end = `_seed-${seed}`;
  return name.endsWith(end) ? name.slice(0, -end.length) : name;
}

function layersText(value: Epsilon | Record<string, number> | undefined): string {
  if (value === undefined) return '';
  return typeof value === 'object' ? Object.values(value).join(' ') : String(value);
}

/** @param isOwn whether it is a network of the user's own, whose channels nobody would reverse */
function labelsOf({ protocol, images }: Row, isOwn: boolean): string[] {
  const name = protocolName(protocol);
  const labels: string[] = [];
  const isUsual = isOwn && protocol.search === 'bisection' && protocol.channels === 'kept';
  if (name === undefined && !isUsual)
    labels.push(`${protocol.search}, channels ${protocol.channels}`);
  if (name !== undefined && name !== 'paper') labels.push(`protocol ${name}`);
  if (images !== PUBLISHED_IMAGES) labels.push(counted(images, 'image'));
  return labels;
}

/** The name of the protocol with this search and these channels; undefined if none has them. */
export function protocolName({ search, channels }: Protocol): keyof typeof PROTOCOL | undefined {
  return (Object.keys(PROTOCOL) as (keyof typeof PROTOCOL)[]).find(
    (key) => PROTOCOL[key].search === search && PROTOCOL[key].channels === channels,
  );
}
