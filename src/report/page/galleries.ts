import { existsSync } from 'node:fs';
import { ATTACK_NAMES, type AttackName } from '../../attacks/attack.js';
import { loadData } from '../../data/load.js';
import type { DataName } from '../../data/sources.js';
import { CLASS_NAMES, type ImageSize, shapeOf } from '../../data/shapes.js';
import { threadCount } from '../../engine/engine.js';
import { UserError } from '../../base/errors.js';
import type { Config } from '../../config/experiment.js';
import type { CollectedPart, FoundRun } from '../../store/collect.js';
import {
  type Examples,
  examplesOf,
  type ExampleSource,
  type NetworkExamples,
} from '../../experiment/gallery.js';
import { readPictures } from '../../store/pictures.js';
import { openModel } from '../../experiment/models.js';
import { FILES } from '../../store/resultFolder.js';
import type { CsvLine } from '../../store/csvFile.js';
import type { Result } from '../../store/result.js';
import { linfHeading, readPerImage } from '../../store/perImage.js';
import { digestOfTensors, sourceOf } from '../../store/provenance.js';
import { announceEngine } from '../../experiment/runOptions.js';
import type { Progress } from '../../base/progress.js';
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
  /** Images of each class; 0 means no galleries. */
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

export const NO_GALLERIES: Galleries = { galleries: [], notes: [] };

/** A network of which there are weights or kept examples, with its name in the tables. */
interface Exhibit {
  name: string;
  run: FoundRun;
  hasWeights: boolean;
}

/**
 * Examples of each network in the tables: computed if its folder holds its weights, else those that its run kept; for
 * several seeds, of the first.
 *
 * @throws Interrupted if the signal aborts
 */
export async function galleriesOf(
  parts: readonly CollectedPart[],
  options: GalleryOptions,
): Promise<Galleries> {
  const found: Galleries = { galleries: [], notes: [] };
  if (options.perClass === 0) return found;
  const all = exhibitsOf(parts);
  const good = await sound(
    all.filter(({ hasWeights }) => hasWeights),
    found.notes,
  );
  const byData = new Map<string, { computed: Exhibit[]; kept: Exhibit[] }>();
  for (const exhibit of all) {
    const { name, folder, sha256 } = exhibit.run.result.data;
    const key = JSON.stringify([name, folder, sha256]);
    const alike = byData.get(key) ?? { computed: [], kept: [] };
    byData.set(key, alike);
    if (!exhibit.hasWeights) alike.kept.push(exhibit);
    else if (good.includes(exhibit)) alike.computed.push(exhibit);
  }
  for (const { computed, kept } of byData.values()) {
    const gallery =
      computed.length === 0 ? undefined : await computedGallery(computed, options, found.notes);
    const whole = withKept(gallery, kept, found.notes);
    if (whole) found.galleries.push(whole);
  }
  return found;
}

async function computedGallery(
  alike: readonly Exhibit[],
  options: GalleryOptions,
  notes: string[],
): Promise<Gallery | undefined> {
  try {
    return await galleryOf(alike, options, notes);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`no examples of ${alike.map(({ name }) => name).join(', ')}: ${error.message}`);
    return undefined;
  }
}

/** A gallery with the examples that runs without weights kept. */
function withKept(
  gallery: Gallery | undefined,
  kept: readonly Exhibit[],
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
  const {
    name,
    folder,
    classes = folder === null ? CLASS_NAMES[name] : undefined,
  } = kept[0].run.result.data;
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
  const all = exhibitsOf(parts).map(({ name, hasWeights, run: { folder, result } }) => [
    name,
    folder,
    hasWeights,
    result.weights,
    result.data,
    result.row.protocol,
    result.config.evaluation,
  ]);
  return JSON.stringify(all);
}

function exhibitsOf(parts: readonly CollectedPart[]): Exhibit[] {
  return parts.flatMap(({ entries, groups }) =>
    entries.flatMap(({ name, labels }, i) => {
      const withFile = (file: keyof typeof FILES): FoundRun | undefined =>
        groups[i].find(({ folder }) => existsSync(path.join(folder, FILES[file])));
      const trained = withFile('weights');
      const run = trained ?? withFile('examples');
      if (!run) return [];
      const label = labels.length === 0 ? '' : ` (${labels.join(', ')})`;
      return [{ name: `${name}${label}`, run, hasWeights: trained !== undefined }];
    }),
  );
}

/** Only networks whose weights are the evaluated ones; the others get a note. */
async function sound(exhibits: readonly Exhibit[], notes: string[]): Promise<Exhibit[]> {
  const good: Exhibit[] = [];
  for (const exhibit of exhibits) {
    const { folder, result } = exhibit.run;
    try {
      const { file, name } = await openModel(folder);
      if (digestOfTensors(file) === result.weights) good.push(exhibit);
      else notes.push(`no examples of ${exhibit.name}: ${name} does not belong to the result`);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      notes.push(`no examples of ${exhibit.name}: ${error.message}`);
    }
  }
  return good;
}

async function galleryOf(
  exhibits: readonly Exhibit[],
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
    classes: data.test.names ?? (folder === null ? CLASS_NAMES[name] : undefined),
    examples,
    ...agreement(exhibits, examples, notes),
  };
}

function exampleSource({ name, run: { folder, result } }: Exhibit): ExampleSource {
  const { row, config } = result;
  const { pgd, apgd, square } = config.evaluation ?? {};
  return {
    name,
    weights: folder,
    attacks: attacksOf(result.row.attacks),
    settings: { ...row.protocol, pgd, apgd, square },
    images: row.images,
  };
}

function attacksOf(attacks: Partial<Record<AttackName, unknown>>): AttackName[] {
  return ATTACK_NAMES.filter((name) => attacks[name]);
}

function linesOf(folder: string, { row }: Result, notes: string[]): CsvLine[] | undefined {
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
  exhibits: readonly Exhibit[],
  { originals, networks }: Examples,
  notes: string[],
): Pick<Gallery, 'differing' | 'compared'> {
  let [differing, compared] = [0, 0];
  exhibits.forEach(({ run: { folder, result } }, i) => {
    const lines = linesOf(folder, result, notes);
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
