import { PROTOCOL, type Protocol } from '../attacks/attack.js';
import type { Row } from '../metrics/row.js';
import type { PublishedRow } from '../paper/published.js';

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

/** The number of test images in the published rows. */
const PUBLISHED_IMAGES = 10_000;

/** @param isOwn whether it is a network of the user's own, whose channels nobody would reverse */
export function labelsOf({ protocol, images }: Row, isOwn: boolean): string[] {
  const name = protocolName(protocol);
  const labels: string[] = [];
  const isUsual = isOwn && protocol.search === 'bisection' && protocol.channels === 'kept';
  if (name === undefined && !isUsual)
    labels.push(`${protocol.search}, channels ${protocol.channels}`);
  if (name !== undefined && name !== 'paper') labels.push(`protocol ${name}`);
  if (images !== PUBLISHED_IMAGES) labels.push(`${images} images`);
  return labels;
}

/** The name of the protocol with this search and these channels; undefined if none has them. */
export function protocolName({ search, channels }: Protocol): keyof typeof PROTOCOL | undefined {
  return (Object.keys(PROTOCOL) as (keyof typeof PROTOCOL)[]).find(
    (key) => PROTOCOL[key].search === search && PROTOCOL[key].channels === channels,
  );
}
