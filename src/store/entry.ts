import { PROTOCOL, type Protocol } from '../attacks/attack.js';
import type { Row } from '../metrics/row.js';
import type { PublishedRow } from '../paper/published.js';

/** One experiment in a table: its own lines and, where its row is in the paper, the paper's. */
export interface Entry {
  /** Empty for an experiment that has not been run. */
  name: string;
  /** In what it is unlike the published rows: the protocol, the number of images. */
  labels: string[];
  /** A number, or one for each layer; empty for regular training. */
  beta: string;
  epsilon: string;
  /** One for each seed; none of an experiment that has not been run. */
  rows: Row[];
  /** What is known of them. */
  seeds: number[];
  published?: PublishedRow;
}

/** How many images the published rows are of. */
const PUBLISHED_IMAGES = 10_000;

export function labelsOf({ protocol, images }: Row): string[] {
  const name = protocolName(protocol);
  const labels: string[] = [];
  if (name === undefined) labels.push(`${protocol.search}, channels ${protocol.channels}`);
  else if (name !== 'paper') labels.push(`protocol ${name}`);
  if (images !== PUBLISHED_IMAGES) labels.push(`${images} images`);
  return labels;
}

/** The protocol that goes along its lines like this; undefined if none does. */
export function protocolName({ search, channels }: Protocol): keyof typeof PROTOCOL | undefined {
  return (Object.keys(PROTOCOL) as (keyof typeof PROTOCOL)[]).find(
    (key) => PROTOCOL[key].search === search && PROTOCOL[key].channels === channels,
  );
}
