import { existsSync } from 'node:fs';
import { ATTACK_NAMES, type AttackName } from '../attacks/attack.js';
import { loadData } from '../data/load.js';
import type { DataName } from '../data/sources.js';
import { classNames, type ImageSize, shapeOf } from '../data/shapes.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import type { Config } from '../config/experiment.js';
import type { CollectedPart, FoundRun } from '../store/collect.js';
import { type Examples, examplesOf, type ExampleSource, type NetworkExamples } from './gallery.js';
import { entryTitle } from '../store/entry.js';
import { readPictures } from '../store/pictures.js';
import { evaluatedAs } from './evaluate.js';
import { openModel } from './models.js';
import { FILES } from '../store/resultFolder.js';
import type { CsvLine } from '../store/csvFile.js';
import type { Result } from '../store/result.js';
import { linfHeading, readPerImage } from '../store/perImage.js';
import { digestOfTensors, sourceOf } from '../store/provenance.js';
import { announceEngine } from './runOptions.js';
import type { Progress } from '../base/progress.js';
import path from 'node:path';

/** Adversarial examples of all networks on one data set. */
export interface Gallery {
  data: DataName;
  /** The names of the classes, if they are known. */
  classes?: readonly string[];
  size: ImageSize;
  examples: Examples;
  /** Examples whose L∞ differs from `per-image.csv`. */
  differing: number;
  /** Examples that were compared with `per-image.csv`. */
  compared: number;
}

export interface GalleryOptions {
  /** Images of each class. */
  perClass: number;
  dataDir?: string;
  engine: Config['engine'];
  threads?: number;
  progress: Progress;
  signal?: AbortSignal;
}

export interface Galleries {
  galleries: Gallery[];
  /** A sentence for each network that has weights but is left out. */
  notes: string[];
  /** Whether newer ones are being computed. */
  isOld?: boolean;
}

/** A network with its name in the tables, and the first of its runs that hold weights or examples that they kept. */
interface Exhibit {
  name: string;
  trained?: FoundRun;
  kept?: FoundRun;
}

/** A network, and the run of which the examples are. */
interface Shown {
  name: string;
  run: FoundRun;
}

/**
 * Examples of each network in the tables: computed if a folder holds its weights, else, or if those do not belong to the
 * result, those that a run kept; for several seeds, of the first.
 *
 * @throws Interrupted if the signal aborts
 */
export async function galleriesOf(
  parts: readonly CollectedPart[],
  options: GalleryOptions,
): Promise<Galleries> {
  const found: Galleries = { galleries: [], notes: [] };
  const byData = new Map<string, { computed: Exhibit[]; kept: Shown[] }>();
  for (const exhibit of exhibitsOf(parts)) {
    const { name, kept } = exhibit;
    const isSound = await hasSoundWeights(exhibit, found.notes);
    const run = isSound ? exhibit.trained : kept;
    if (!run) continue;
    const { data } = run.result;
    const key = JSON.stringify([data.name, data.folder, data.sha256]);
    const alike = byData.get(key) ?? { computed: [], kept: [] };
    byData.set(key, alike);
    if (isSound) alike.computed.push(exhibit);
    else alike.kept.push({ name, run });
  }
  for (const { computed, kept } of byData.values()) {
    const gallery = await computedGallery(computed, options, found.notes);
    const others = gallery
      ? kept
      : [...computed.flatMap(({ name, kept: run }) => (run ? [{ name, run }] : [])), ...kept];
    const whole = withKept(gallery, others, found.notes);
    if (!whole) continue;
    const { originals, networks } = whole.examples;
    if (originals.length > 0) found.galleries.push(whole);
    else {
      const names = networks.map(({ name }) => name).join(', ');
      found.notes.push(`no examples of ${names}: no image is classified correctly`);
    }
  }
  return found;
}

async function computedGallery(
  alike: readonly Exhibit[],
  options: GalleryOptions,
  notes: string[],
): Promise<Gallery | undefined> {
  if (alike.length === 0) return undefined;
  try {
    const shown = alike.map(({ name, trained }) => ({ name, run: trained! }));
    return await galleryOf(shown, options, notes);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    for (const exhibit of alike) notes.push(notComputed(exhibit, error.message));
    return undefined;
  }
}

/** Why examples of a network are not computed, and what is shown instead. */
function notComputed({ name, kept }: Exhibit, why: string): string {
  return kept
    ? `examples of ${name} are those that the run kept: ${why}`
    : `no examples of ${name}: ${why}`;
}

/** A gallery with the examples that runs kept. */
function withKept(
  gallery: Gallery | undefined,
  kept: readonly Shown[],
  notes: string[],
): Gallery | undefined {
  const originals = [...(gallery?.examples.originals ?? [])];
  const networks = [...(gallery?.examples.networks ?? [])];
  let size = gallery?.size;
  for (const { name, run } of kept) {
    const pictures = picturesOf(run, notes);
    if (!pictures) continue;
    size ??= pictures.size;
    const network: NetworkExamples = { name, predicted: [], blank: [], examples: [] };
    for (const { position, label, pixels, blank, attacks } of pictures.groups) {
      let at = originals.findIndex((original) => original.position === position);
      if (at < 0) at = originals.push({ position, label, pixels }) - 1;
      network.predicted[at] = label;
      network.blank[at] = blank;
      for (const { attack, found } of attacks) {
        const example = found && { ...found, pass: found.pass ?? NaN };
        network.examples.push({ original: at, attack, found: example });
      }
    }
    networks.push(network);
  }
  if (!size || kept.length === 0) return gallery;
  const { name, folder, classes: own } = kept[0].run.result.data;
  const classes = classNames(name, folder, own);
  const common = gallery ?? { data: name, classes, size, differing: 0, compared: 0 };
  return { ...common, examples: inOrderOfClasses({ originals, networks }) };
}

function picturesOf(
  { folder, result }: FoundRun,
  notes: string[],
): ReturnType<typeof readPictures> {
  try {
    return readPictures(folder, result, shapeOf(result.data.name));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`${error.message}: its examples are left out`);
    return undefined;
  }
}

function inOrderOfClasses({ originals, networks }: Examples): Examples {
  const order = [...originals.keys()].sort(
    (a, b) =>
      originals[a].label - originals[b].label || originals[a].position - originals[b].position,
  );
  return {
    originals: order.map((i) => originals[i]),
    networks: networks.map(({ name, predicted, blank, examples }) => ({
      name,
      predicted: order.map((i) => predicted[i]),
      blank: order.map((i) => blank[i]),
      examples: examples.map((one) => ({ ...one, original: order.indexOf(one.original) })),
    })),
  };
}

/** Everything that galleries depend on: they change only when this does. */
export function galleryKey(parts: readonly CollectedPart[]): string {
  const textOf = (run: FoundRun | undefined) =>
    run && [
      run.folder,
      run.result.weights,
      run.result.data,
      run.result.row.protocol,
      run.result.config.evaluation,
    ];
  const all = exhibitsOf(parts).map(({ name, trained, kept }) => [
    name,
    textOf(trained) ?? null,
    textOf(kept) ?? null,
  ]);
  return JSON.stringify(all);
}

function exhibitsOf(parts: readonly CollectedPart[]): Exhibit[] {
  return parts.flatMap(({ entries, groups }) =>
    entries.flatMap((entry, i) => {
      const withFile = (file: keyof typeof FILES): FoundRun | undefined =>
        groups[i].find(({ folder }) => existsSync(path.join(folder, FILES[file])));
      const [trained, kept] = [withFile('weights'), withFile('examples')];
      if (!trained && !kept) return [];
      return [{ name: entryTitle(entry), trained, kept }];
    }),
  );
}

/** Whether there are weights, and the evaluated ones; if not the latter, it gets a note. */
async function hasSoundWeights(exhibit: Exhibit, notes: string[]): Promise<boolean> {
  if (!exhibit.trained) return false;
  const { folder, result } = exhibit.trained;
  try {
    const { file, name } = await openModel(folder);
    if (digestOfTensors(file) === result.weights) return true;
    notes.push(notComputed(exhibit, `${name} does not belong to the result`));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(notComputed(exhibit, error.message));
  }
  return false;
}

async function galleryOf(
  exhibits: readonly Shown[],
  { perClass, dataDir, engine, threads, progress, signal }: GalleryOptions,
  notes: string[],
): Promise<Gallery> {
  const { name, folder, sha256 } = exhibits[0].run.result.data;
  const place = dataDir ?? folder ?? undefined;
  const data = await loadData(name, { dataDir: place, progress, signal });
  if (sourceOf(name, data).sha256 !== sha256) {
    throw new UserError('they were made on other data; --data-dir says where those are');
  }
  await announceEngine(engine, { threads, progress });
  const examples = await examplesOf(exhibits.map(exampleSource), data, {
    perClass,
    threads: threadCount(threads),
    progress,
    signal,
  });
  return {
    data: name,
    size: data.test,
    classes: classNames(name, folder, data.test.names),
    examples,
    ...agreement(exhibits, examples, notes),
  };
}

function exampleSource({ name, run: { folder, result } }: Shown): ExampleSource {
  const { row } = result;
  return {
    name,
    weights: folder,
    attacks: attacksOf(row.attacks),
    images: row.images,
    ...evaluatedAs(result),
  };
}

function attacksOf(attacks: Partial<Record<AttackName, unknown>>): AttackName[] {
  return ATTACK_NAMES.filter((name) => attacks[name]);
}

function perImageOf(folder: string, { row }: Result, notes: string[]): CsvLine[] | undefined {
  try {
    return readPerImage(folder, row);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`${error.message}: examples are not compared with it`);
    return undefined;
  }
}

/** Compares the examples with the evaluation. */
function agreement(
  exhibits: readonly Shown[],
  { originals, networks }: Examples,
  notes: string[],
): Pick<Gallery, 'differing' | 'compared'> {
  let [differing, compared] = [0, 0];
  exhibits.forEach(({ run: { folder, result } }, i) => {
    const lines = perImageOf(folder, result, notes);
    for (const { original, attack, found } of networks[i].examples) {
      const heading = linfHeading(attack, result.row.protocol.search);
      const known = lines?.[originals[original].position]?.[heading];
      if (known === undefined) continue;
      compared++;
      if (known !== (found ? String(found.linf) : '')) differing++;
    }
  });
  return { differing, compared };
}
