import { existsSync } from 'node:fs';
import path from 'node:path';
import type { AttackName } from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import { isFolder } from '../base/files.js';
import { groupedBy } from '../base/groups.js';
import { meanOf } from '../base/sums.js';
import { trainingInWords } from '../config/experiment.js';
import { classNames, type ImageSize, shapeOf } from '../data/shapes.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { createPassMeter } from '../metrics/pass.js';
import { type FoundRun, findRuns } from '../store/collect.js';
import { namesApart } from '../store/labels.js';
import { type PictureGroup, readPictures } from '../store/pictures.js';
import type { DataSource } from '../store/result.js';
import { FILES } from '../store/resultFolder.js';
import {
  type AdversarialImage,
  besideOf,
  type FigureExample,
  type FigureOptions,
  whereFlattered,
} from './figureExample.js';

/** The runs in folders of which none has weights, and that kept examples; undefined if there are none. */
export function keptIn(given: readonly string[]): FoundRun[] | undefined {
  const hasWeights = (name: string): boolean =>
    !isFolder(name) || existsSync(path.join(name, FILES.weights));
  if (given.some(hasWeights)) return undefined;
  const { runs } = findRuns(given);
  const kept = runs.filter(({ folder }) => existsSync(path.join(folder, FILES.examples)));
  return kept.length === 0 ? undefined : kept;
}

/** The examples that runs kept, with the protocol of the runs. */
export async function keptExamples(
  runs: readonly FoundRun[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const names = namesApart(
    runs.map(({ folder, result: { name, config } }) => ({ name, identity: { ...config }, folder })),
  );
  const examples: FigureExample[] = [];
  for (const data of DATA_NAMES) {
    const given = runs.flatMap(({ folder, result }, i): Kept[] => {
      if (result.data.name !== data) return [];
      const pictures = readPictures(folder, result, shapeOf(data));
      const training = result.config.training;
      return pictures
        ? [
            {
              ...pictures,
              network: names[i],
              training: training ? trainingInWords(training) : '',
              source: result.data,
            },
          ]
        : [];
    });
    if (given.length > 0) examples.push(...(await keptOn(data, given, options)));
  }
  return examples;
}

interface Kept {
  network: string;
  training: string;
  source: DataSource;
  size: ImageSize;
  groups: PictureGroup[];
}

async function keptOn(
  data: DataName,
  kept: readonly Kept[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const [{ source, size, groups }] = kept;
  const strange = kept.find((one) => one.source.sha256 !== source.sha256);
  if (strange) {
    throw new UserError(
      `${strange.network} was run on other images than ${kept[0].network}: make a figure of each`,
    );
  }
  const { attack } = options;
  const beside = keptBeside(kept, options);
  const classes = classNames(data, source.folder, source.classes);
  const meter = await createPassMeter(size);
  try {
    const examples = groups.flatMap(({ position, label, pixels: original }): FigureExample[] => {
      const adversarials = kept.flatMap(
        ({ network, training, groups: own }): AdversarialImage[] => {
          const group = own.find((one) => one.position === position);
          return [attack, beside].flatMap((name): AdversarialImage[] => {
            const found = group?.attacks.find((one) => one.attack === name)?.found;
            if (!found || !name) return [];
            const { pixels: image, predicted, linf } = found;
            const pass = found.pass ?? meter.measure(original, image).pass;
            return [{ network, training, attack: name, predicted, linf, pass, image }];
          });
        },
      );
      const fooled = adversarials.filter((one) => one.attack === attack);
      if (fooled.length < kept.length) return [];
      return [{ data, size, classes, index: position, label, original, adversarials }];
    });
    return whereFlattered(examples, beside);
  } finally {
    meter.close();
  }
}

/** The attack to show beside another one; if it was not made, the one that needs least on average. */
function keptBeside(kept: readonly Kept[], options: FigureOptions): AttackName | undefined {
  const wanted = besideOf(options);
  if (!wanted) return undefined;
  const made = kept
    .flatMap(({ groups }) => groups.flatMap(({ attacks }) => attacks))
    .flatMap(({ attack, found }) => (found ? [{ attack, linf: found.linf }] : []));
  const byAttack = groupedBy(made, ({ attack }) => attack);
  if (byAttack.has(wanted)) return wanted;
  const means = [...byAttack].map(([attack, alike]) => {
    return { attack, mean: meanOf(alike.map(({ linf }) => linf)) };
  });
  const others = means.filter(({ attack }) => attack !== options.attack);
  return others.sort((a, b) => a.mean - b.mean).at(0)?.attack;
}
