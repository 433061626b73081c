import path from 'node:path';
import { attacksIn, AUTO } from '../attacks/attack.js';
import { attackImages, ATTACKS } from '../attacks/attacks.js';
import { loadData } from '../data/load.js';
import { type Dataset, firstImages, refuseMoreImages, withImages } from '../data/dataset.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { spreadOf } from '../metrics/statistics.js';
import type { Model } from '../model/network.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { counted, printable } from '../base/text.js';
import {
  TRANSFER_FILES,
  transferCsv,
  transferResultSchema,
  transferSchema,
} from '../store/transfer.js';
import { type AnyEvaluation, type Config, evaluationOf, networkOf } from '../config/experiment.js';
import { noticeWrongPreparation, ownPreparation } from './preparationCheck.js';
import { refuseOtherImages } from './weightFile.js';
import type { Identity } from '../store/identity.js';
import { discardLeft, openFolder, type ResultFolder } from '../store/resultFolder.js';
import { loadModel, type OpenedModel, openModel } from './models.js';
import { digestOfTensors, refuseOtherData, sourceOf } from '../store/provenance.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import type { Transfer } from '../metrics/transfer.js';
import { jsonText } from '../base/files.js';

export interface TransferOptions extends Omit<RunOptions, 'inputs'> {
  evaluation: AnyEvaluation;
  engine: Config['engine'];
}

/**
 * Attacks each of two networks on the test images that both classify correctly, and tries its
 * adversarial examples on the other. Skips attacks whose results the folder has.
 *
 * @param files weights, or result folders with weights in them
 * @throws UserError if `auto` is among the attacks, a setting has no use here, the networks are for different data,
 *   weights cannot be read, or the folder holds another transfer; Interrupted if the signal aborts
 */
export async function transfer(
  files: readonly [string, string],
  { evaluation: given, ...options }: TransferOptions,
): Promise<Transfer[]> {
  const { progress, signal, force } = options;
  threadCount(options.threads);
  if (given.attacks.includes(AUTO)) {
    throw new UserError(
      `--attacks ${AUTO}: a transfer tries the smallest perturbations of single attacks, so name some of them, such as apgd`,
    );
  }
  const unused = (['budgets', 'logitScale', 'noise'] as const).find((key) => given[key]);
  if (unused !== undefined) {
    throw new UserError(
      `evaluation.${unused}: a transfer has no use for it: leave it out, and give it to bang eval`,
    );
  }
  const opened = [await openModel(files[0]), await openModel(files[1])] as const;
  const [a, b] = opened;
  if (path.resolve(a.name) === path.resolve(b.name)) {
    throw new UserError(
      `${files[0]} is given twice, and to itself everything transfers: give another network`,
    );
  }
  if (a.subject.data !== b.subject.data) {
    throw new UserError(
      `${files[0]} is for ${a.subject.data} and ${files[1]} for ${b.subject.data}: give two networks for the same data`,
    );
  }
  const evaluation = evaluationOf(given, a.subject.model, b.subject.model);
  const names = namesOf(opened, files);
  const identity = {
    transfer: opened.map(({ subject, file }) => ({
      model: subject.model,
      weights: digestOfTensors(file),
    })),
    evaluation,
  };
  const inputs = opened.map(({ name }) => name);
  const folder = openFolder(options.out, identity, { force, inputs }, TRANSFER_FILES);
  const data = await loadData(a.subject.data, { dataDir: options.dataDir, progress, signal });
  for (const { subject } of opened) {
    refuseOtherImages(networkOf(subject), data.test, options.dataDir);
  }
  refuseMoreImages(data.test, evaluation.images);
  const { sha256 } = sourceOf(a.subject.data, data, options.dataDir);
  const finished = force ? undefined : transferResultSchema.safeParse(folder.result()).data;
  if (finished) {
    refuseOtherData(folder, finished.data, sha256);
    await discardLeft(folder);
    return finished.transfers;
  }
  await announceEngine(options.engine, options);
  const networks = opened.map((one) => loadModel(one, data));
  try {
    for (const [i, { file }] of opened.entries()) {
      if (!file.network) continue;
      const own = ownPreparation(file);
      await noticeWrongPreparation(networks[i], data.test, { own, progress, signal });
    }
    return await folder.hold(() =>
      transferInto(folder, identity, networks, names, data.test, sha256, {
        ...options,
        evaluation,
      }),
    );
  } finally {
    networks.forEach(disposeNetwork);
  }
}

async function transferInto(
  folder: ResultFolder<keyof typeof TRANSFER_FILES>,
  identity: Identity,
  networks: readonly Model[],
  names: readonly string[],
  all: Dataset,
  sha256: string,
  options: TransferOptions & { evaluation: Config['evaluation'] },
): Promise<Transfer[]> {
  const { evaluation, signal } = options;
  const parts = folder.parts({ ...identity, data: sha256 });

  const test = firstImages(all, evaluation.images);
  const predicted: Uint8Array[] = [];
  for (const model of networks) {
    const found = await predict(model, test, { signal });
    predicted.push(found.predicted);
  }
  const both = Uint32Array.from(test.labels.keys()).filter((i) =>
    predicted.every((labels) => labels[i] === test.labels[i]),
  );
  const transfers: Transfer[] = [];
  for (const attack of attacksIn(evaluation.attacks)) {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ]) {
      const which = { attack, from: names[from], to: names[to] };
      const [maker, other] = [networks[from], networks[to]];
      const part = `${attack}-${from}`;
      const kept = transferSchema.safeParse(parts.read(part)).data;
      const found = kept ?? (await tried(which, maker, other, test, both, evaluation, options));
      parts.write(part, found);
      transfers.push(found);
    }
  }
  folder.write('table', transferCsv(transfers));
  const result = { format: 1, kind: 'transfer', data: sha256, transfers };
  folder.write('result', jsonText(result));
  folder.discard();
  return transfers;
}

async function tried(
  which: Pick<Transfer, 'attack' | 'from' | 'to'>,
  maker: Model,
  other: Model,
  test: Dataset,
  positions: Uint32Array,
  evaluation: Config['evaluation'],
  { progress, signal }: Pick<RunOptions, 'progress' | 'signal'>,
): Promise<Transfer> {
  const { attack, from, to } = which;
  const label = `${ATTACKS[attack].title} on ${from}`;
  const task = progress.start(label, positions.length, 'images');
  const { linf, adversarials } = await attackImages(
    ATTACKS[attack],
    maker,
    test,
    positions,
    evaluation,
    {
      done: (images) => {
        task.update(images);
      },
      signal,
    },
  );
  const perturbed = withImages(test, positions, adversarials);
  const { predicted } = await predict(other, perturbed, { signal });
  const fooled = [...linf.keys()].filter((i) => !Number.isNaN(linf[i]));
  const transferred = fooled.filter((i) => predicted[i] !== perturbed.labels[i]).length;
  task.finish(
    `${fooled.length} of ${counted(positions.length, 'image')}, ${transferred} of them fool ${to}`,
  );
  const counts = { images: positions.length, fooled: fooled.length, transferred };
  return { ...which, ...counts, linf: spreadOf(linf) };
}

/** The names of the two networks, or their paths if the names are equal. */
function namesOf(opened: readonly OpenedModel[], files: readonly string[]): string[] {
  const own = opened.map(({ subject }) => subject.name);
  return (own[0] === own[1] ? files : own).map(printable);
}
