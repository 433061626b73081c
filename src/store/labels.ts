import type { PublishedRow } from '../paper/published.js';
import { trainingOf } from '../paper/trainings.js';
import { printable } from '../base/text.js';
import { type Config, fullTraining, isBang } from '../config/experiment.js';
import { BESIDE, differencesIn, type Identity, INCIDENTAL, textAt } from './identity.js';

/** The part of a result that names an experiment. */
export interface Labelled {
  config: Partial<Config>;
  weights: string;
  data: { sha256: string };
}

/** Keys of a training that change no weight. */
const WITHOUT_EFFECT = ['training.logEvery', ...INCIDENTAL];

/**
 * The keys in which a run's network, data or training departs from a published row's, with both values:
 * `training.iterations 50 instead of 10000`. The training of weights from elsewhere is not known.
 */
export function departuresFrom(published: PublishedRow, config: Partial<Config>): string[] {
  const theirs = trainingOf(published);
  const ours: Identity = {};
  const known: Identity = {};
  for (const key of ['model', 'data', 'training'] as const) {
    if (config[key] === undefined) continue;
    ours[key] = config[key];
    known[key] = theirs[key];
  }
  if (config.training) {
    const { bang, ...training } = fullTraining(config.training);
    const isRegular = published.beta === null && !isBang({ training: config.training });
    ours.training = isRegular ? training : { ...training, bang };
  }
  return differencesIn(known, ours, WITHOUT_EFFECT).map(
    ({ key, was, is }) => `${key} ${is} instead of ${was}`,
  );
}

/**
 * For each of several experiments, what tells it from the others: the keys in which they differ, each with
 * its own value.
 */
export function tellingApart(experiments: readonly Labelled[]): string[][] {
  return differing(experiments.map(identityOf), ALIKE);
}

/** For each of several identities the keys in which they differ, with its own values. */
function differing(all: readonly Identity[], ignored: readonly string[]): string[][] {
  const keys = new Set(
    all.flatMap((one) => differencesIn(all[0], one, ignored).map(({ key }) => key)),
  );
  // Of a mapping that one of them lacks, the whole.
  const outer = [...keys].filter((key) => ![...keys].some((one) => key.startsWith(`${one}.`)));
  return all.map((one) => outer.map((key) => `${key} ${textAt(one, key)}`));
}

/** Something with a name that others may have, too: a sweep, a study, a network. */
export interface Namesake {
  name: string;
  identity: Identity;
  folder: string;
}

/** Keys that do not tell sweeps, studies or networks of one name apart. */
const BESIDE_NAME = ['name', 'description', 'engine', 'published', 'evaluation.protocol'];
const MOST_LABELS = 3;

/** Names that are all different: those that are equal have the keys in which they differ, else their folders. */
export function namesApart(all: readonly Namesake[]): string[] {
  const labelled = all.map((one): string => {
    const alike = all.filter(({ name }) => name === one.name);
    const found = differing(
      alike.map(({ identity }) => JSON.parse(JSON.stringify(identity)) as Identity),
      BESIDE_NAME,
    );
    const labels = found[alike.indexOf(one)].slice(0, MOST_LABELS).map(shortLabel);
    return labels.length === 0 ? one.name : `${one.name} (${labels.join(', ')})`;
  });
  return labelled.map((name, i) =>
    printable(
      labelled.filter((other) => other === name).length === 1
        ? name
        : `${name} in ${all[i].folder}`,
    ),
  );
}

/** A label with only the last part of its key. */
export function shortLabel(label: string): string {
  return printable(label.replace(/^\S*\.(?=\S+ )/, ''));
}

const ALIKE = BESIDE.filter((key) => key !== 'published');

function identityOf({ config, weights, data }: Labelled): Identity {
  const brief = (sha256: string): string => sha256.slice(0, 12);
  return JSON.parse(
    JSON.stringify({
      ...config,
      images: brief(data.sha256),
      // Those of a training follow from its config.
      weights: config.seed === undefined ? brief(weights) : undefined,
    }),
  ) as Identity;
}
