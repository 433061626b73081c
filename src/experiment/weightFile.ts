import { omit } from '../base/omit.js';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { isFolder, parseJson } from '../base/files.js';
import { inWords, shapeText, shellWord } from '../base/text.js';
import type { Dataset } from '../data/dataset.js';
import { shapeOf } from '../data/shapes.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { adaptWeights } from '../model/files/adapt.js';
import { makeNetwork } from '../model/network.js';
import { type NetworkName, NETWORKS, type NetworkSpec } from '../model/networks.js';
import { chained, type Preparation, simplified } from '../model/preparation.js';
import type { WeightFile } from '../model/tensors.js';
import { DamagedWeights, readWeights } from '../model/files/weights.js';
import { FILES, SWEEP_FILE } from '../store/resultFolder.js';
import { type Config, dataOf, isOwn, networkOf } from '../config/experiment.js';
import { describedNetwork, loadModelFile, refuseMisfit } from '../config/modelFile.js';
import { imagesOf, type OwnNetwork } from '../config/ownNetwork.js';
import { parseConfig } from '../config/parse.js';

/** What a user says about weights of another program. */
export interface Reading {
  /** The name of a network, or a YAML file that describes one. */
  model?: string;
  data?: DataName;
  /** How pixels are prepared: before what a graph does itself, instead of what a YAML file says. */
  scale?: number;
  /** By channel; one number is for all channels. */
  mean?: readonly number[];
  std?: readonly number[];
}

/** A file does not say something that `Reading` can say. */
export class Unsaid extends UserError {
  override name = 'Unsaid';
}

/** The contents of a weight file and the network that they belong to. */
export interface ReadWeights {
  file: WeightFile;
  subject: Pick<Config, 'name' | 'model' | 'data'>;
}

/**
 * Reads the tensors of a weight file, or of the one in the folder of a run.
 *
 * @throws UserError if the folder has no weights or the file cannot be read
 */
export async function readWeightsIn(given: string): Promise<{ name: string; file: WeightFile }> {
  const ofRun = isFolder(given);
  const name = ofRun ? path.join(given, FILES.weights) : given;
  if (ofRun && !existsSync(name)) {
    if (existsSync(path.join(given, FILES.checkpoint))) {
      throw new UserError(
        `${given} holds no ${FILES.weights} yet: its training was stopped, and the command that began it continues`,
      );
    }
    throw new UserError(
      `${given} holds no ${FILES.weights}: give a file of weights or the folder of a run` +
        (isCell(given) ? '; sweeps keep the weights of cells with --keep weights' : ''),
    );
  }
  try {
    return { name, file: await readWeights(name) };
  } catch (error) {
    const config = path.join(given, FILES.identity);
    if (!(error instanceof DamagedWeights && ofRun && existsSync(config))) throw error;
    const again = `bang run ${shellWord(config)} --out ${shellWord(given)} --force`;
    throw new UserError(`${error.message}; ${again} makes it again`);
  }
}

function isCell(folder: string): boolean {
  return existsSync(path.join(folder, '..', '..', SWEEP_FILE));
}

/**
 * The network and the data that weights belong to: as the user says, else from the file's config or graph, else
 * from its tensors.
 *
 * @returns the weights in the shapes and names of that network
 * @throws UserError if they do not fit it, or if it is not clear which data they are for
 */
export async function understood(
  given: WeightFile,
  name: string,
  reading: Reading = {},
): Promise<ReadWeights> {
  const title = path.basename(name).replace(/\..*$/, '');
  const trainedBy = configIn(given);
  const byUser = reading.model === undefined ? undefined : await modelIn(reading.model);
  if (byUser && typeof byUser.model !== 'string') {
    const { model } = byUser;
    const data = reading.data ?? byUser.data ?? dataLike(model, name);
    refuseMisfit(reading.model!, model, data);
    const { height, width, channels, classes } = imagesOf(model, data)!;
    const prepared = { ...omit(model, 'image'), ...preparationIn(model, reading, channels) };
    const spec = { ...prepared, input: [height, width, channels] as const, classes };
    const adapted = adaptWeights(given, { ...spec, input: [...spec.input] }, name);
    const unused = `the graph of ${name} is not used: ${reading.model!} describes the network`;
    const notes = [...(adapted.notes ?? []), ...(given.format === 'onnx' ? [unused] : [])];
    const file = { ...adapted, notes };
    return { file, subject: { name: title, model: ownOf(file.network!, data), data } };
  }
  const described = byUser ? undefined : (trainedBy ?? describedIn(given, name));
  const model =
    byUser?.model ?? described?.model ?? (given.network ? undefined : modelOf(given, name));
  if (model !== undefined) {
    const flag = (['scale', 'mean', 'std'] as const).find((key) => reading[key] !== undefined);
    if (flag !== undefined) {
      throw new UserError(
        `--${flag}: how pixels are prepared belongs to the network of ${name}: leave it out`,
      );
    }
    const data = reading.data ?? described?.data ?? dataOf(model as NetworkName);
    const subject = { name: described?.name ?? title, model, data };
    refuseOtherShape(networkOf(subject), data, name);
    return { file: given, subject };
  }
  const { network } = given as Required<WeightFile>;
  const { input, classes } = network;
  const [height, width, channels] = input;
  const data =
    reading.data ?? dataLike({ image: [height, width, channels as 1 | 3], classes }, name);
  refuseOtherShape(network, data, name);
  const before = preparationIn({ scale: 1 }, reading, channels);
  const own = before && chained(before, network, channels);
  if (own && network.subtractMean) {
    throw new UserError(
      `--scale, --mean and --std: nothing may come before the mean image that ${name} subtracts: leave them out, and export a model that prepares bytes, 0 to 255, itself`,
    );
  }
  const prepared = own ? { ...omit(network, 'mean', 'std'), ...own } : network;
  const file = { ...given, network: prepared };
  return { file, subject: { name: title, model: ownOf(prepared, data), data } };
}

async function modelIn(
  given: string,
): Promise<{ model: NetworkName | OwnNetwork; data?: DataName }> {
  if (Object.hasOwn(NETWORKS, given)) return { model: given as NetworkName };
  if (!/\.ya?ml$/i.test(given) && !existsSync(given)) {
    throw new UserError(
      `--model ${given}: expected ${inWords(Object.keys(NETWORKS))}, or a YAML file that describes a network`,
    );
  }
  return loadModelFile(given);
}

/** The preparation that flags ask for; what they leave out is as it was. Undefined if there are none. */
function preparationIn(
  was: Preparation,
  { scale, mean, std }: Reading,
  channels: number,
): Preparation | undefined {
  if (scale === undefined && mean === undefined && std === undefined) return undefined;
  const forEach = (flag: string, values: readonly number[] | undefined): number[] | undefined => {
    if (!values || values.length === channels) return values && [...values];
    if (values.length === 1) return Array.from({ length: channels }, () => values[0]);
    throw new UserError(
      `--${flag}: expected ${channels === 1 ? 'one number' : `one number or ${channels}`}, for the channels of the images, found ${values.length}`,
    );
  };
  return simplified({
    scale: scale ?? was.scale,
    mean: forEach('mean', mean) ?? was.mean,
    std: forEach('std', std) ?? was.std,
  });
}

/** A network as a config describes one. */
function ownOf(network: Omit<NetworkSpec, 'name'>, data: DataName): OwnNetwork {
  const { input, classes, layers, ...preparation } = network;
  const [height, width, channels] = input;
  const images = data === 'idx' && { image: [height, width, channels] as const, classes };
  return { ...preparation, ...images, layers } as OwnNetwork;
}

/** The only data set with such images and classes. */
function dataLike(
  { image, classes }: Pick<OwnNetwork, 'image' | 'classes'>,
  name: string,
): DataName {
  const alike = DATA_NAMES.filter((data) => {
    const shape = shapeOf(data);
    if (!shape || !image || classes === undefined) return false;
    return shape.classes === classes && image.join() === sizeOf(shape).join();
  });
  if (alike.length === 1) return alike[0];
  const what = image
    ? `takes images of ${shapeText(image)} and tells ${classes} classes apart`
    : 'does not say which images it is for';
  throw new Unsaid(
    `${name} ${what}: name its data with --data, which is one of ${inWords(DATA_NAMES)}`,
  );
}

function sizeOf(shape: Pick<Dataset, 'height' | 'width' | 'channels'>): number[] {
  return [shape.height, shape.width, shape.channels];
}

/** @throws UserError if a data set, known by name, has images of another shape than a network takes */
function refuseOtherShape(
  { input, classes }: Pick<NetworkSpec, 'input' | 'classes'>,
  data: DataName,
  name: string,
): void {
  const shape = shapeOf(data);
  if (!shape) return;
  if (sizeOf(shape).join() === input.join() && shape.classes === classes) return;
  throw new UserError(
    `${name} takes images of ${shapeText(input)} and tells ${classes} classes apart, but ${data} has images of ${shapeText(sizeOf(shape))} and ${shape.classes} classes`,
  );
}

/** @throws UserError if images do not fit the network that is to see them */
export function refuseOtherImages(
  { input, classes, name }: NetworkSpec,
  images: Dataset,
  folder: string | undefined,
): void {
  const size = sizeOf(images);
  const where = folder ?? 'the data set';
  if (size.join() !== input.join()) {
    throw new UserError(
      `${where} has images of ${shapeText(size)}, but ${name} takes images of ${shapeText(input)}`,
    );
  }
  if (images.classes > classes) {
    const first = images.labels.findIndex((label) => label >= classes);
    const which = first < 0 ? '' : `, and image ${first} the label ${images.labels[first]}`;
    throw new UserError(
      `${where} has ${images.classes} classes${which}, but ${name} tells ${classes} apart; where labels do not begin at 0, data.yaml says so with firstLabel`,
    );
  }
}

/**
 * The named network whose layers a file's tensors have, or of which only a few are missing.
 *
 * @throws UserError if there is none
 */
function modelOf({ tensors }: WeightFile, name: string): NetworkName {
  const names = Object.keys(NETWORKS) as NetworkName[];
  /** The share of its layers that the file has. */
  const fits = (one: NetworkName): number => {
    const { weighted } = makeNetwork(NETWORKS[one]);
    const there = weighted.filter((layer) => tensors.has(`${layer.name}.weight`));
    return there.length / weighted.length;
  };
  // Larger networks first: they may have all layer names of a smaller one.
  const found = names
    .sort((a, b) => NETWORKS[b].layers.length - NETWORKS[a].layers.length)
    .find((one) => fits(one) === 1);
  // What lacks a few of its tensors is told which.
  const like = found ?? names.find((one) => fits(one) > 1 / 2);
  if (like !== undefined) return like;
  throw new Unsaid(
    `${name} does not say which network it is of, and has not the layers of ${inWords(names)}: describe the network with --model FILE.yaml`,
  );
}

/** The config in our own weight files; undefined if there is none or it is invalid. */
export function configIn({ metadata }: WeightFile): Config | undefined {
  const text = metadata.config;
  if (text === undefined) return undefined;
  try {
    return parseConfig(parseJson(text));
  } catch {
    return undefined;
  }
}

/** What our export of a network from elsewhere says about it. */
function describedIn({ metadata }: WeightFile, name: string): ReadWeights['subject'] | undefined {
  const text = metadata[NETWORK];
  if (text === undefined || metadata.bang === undefined) return undefined;
  try {
    return describedNetwork(parseJson(text));
  } catch {
    throw new UserError(`${name}: its description of the network is damaged: export it again`);
  }
}

/** The metadata of a network from elsewhere, by which `understood` knows it again. */
export const NETWORK = 'network';

export function networkMetadata({ name, model, data }: ReadWeights['subject']): string | undefined {
  return isOwn(model) ? JSON.stringify({ name, model, data }) : undefined;
}
