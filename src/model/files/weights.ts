import { stat } from 'node:fs/promises';
import { omit } from '../../base/omit.js';
import { UserError } from '../../base/errors.js';
import { readUserFile, reason } from '../../base/files.js';
import { didYouMean } from '../../base/nearFile.js';
import { foreignWeights } from './foreignWeights.js';
import { isHdf5, readCaffeHdf5 } from './caffe.js';
import { quoted } from '../../base/text.js';
import { MEAN, type NamedArray, type WeightFile } from '../tensors.js';
import { besideModel, decodeGraph, externalFiles, looksLikeOnnx } from './onnx/graph.js';
import { importGraph } from './onnx/import.js';
import { decodeSafetensors, isIntact, looksLikeSafetensors } from './safetensors.js';

/** About a thousand times the size of the largest network here. */
const MAX_BYTES = 2 ** 30;
/** How many batches PyTorch's batch normalisation has seen, which no result depends on. */
const COUNTER = '.num_batches_tracked';
const FLOATS = ['F32', 'F64', 'F16', 'BF16'];

/** Weights of this program that are no longer what it wrote. */
export class DamagedWeights extends UserError {}

/**
 * Reads a weight file, safetensors, ONNX or Caffe HDF5; the format is detected from its content.
 *
 * @throws UserError that names the file, if it cannot be read, is of another kind, is damaged, or contains
 *   values that are not finite
 */
export async function readWeights(file: string): Promise<WeightFile> {
  const bytes = await readBytes(file);
  const content = await decode(bytes, file);
  for (const [name, { data }] of content.tensors) {
    const wrong = data.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new UserError(
        `${file}: tensor ${quoted(name)} has the value ${data[wrong]}, which is not a weight`,
      );
    }
  }
  const { config, network, sha256 } = content.metadata;
  // Other programs may mean something else by this key.
  const isOurs = (config ?? network) !== undefined && sha256 !== undefined;
  if (isOurs && !isIntact(content.tensors, sealedMetadata(content))) {
    throw new DamagedWeights(`${file} is damaged: its content does not fit its checksum`);
  }
  return content;
}

/** Metadata as they were when they were sealed: our ONNX files name the network besides. */
function sealedMetadata({ metadata, format }: WeightFile): Record<string, string> {
  const given = metadata as Record<string, string>;
  return format === 'onnx' ? omit(given, 'model') : given;
}

async function readBytes(file: string): Promise<Uint8Array> {
  const found = await stat(file).catch((error: unknown) => {
    throw new UserError(
      `cannot read ${file}: ${reason(error)}${didYouMean(file, error, 'either')}`,
    );
  });
  if (found.isDirectory()) {
    throw new UserError(`cannot read ${file}: it is a folder; name its weights.safetensors`);
  }
  // Refuse devices, which may never end, and files that would fill the memory.
  if (!found.isFile()) throw new UserError(`${file} is not a file`);
  if (found.size > MAX_BYTES) throw new UserError(`${file} is too large for a weight file`);
  return readUserFile(file, MAX_BYTES);
}

async function decode(bytes: Uint8Array, file: string): Promise<WeightFile> {
  if (isHdf5(bytes)) return { ...(await readCaffeHdf5(bytes, file)), format: 'caffe-hdf5' };
  if (looksLikeOnnx(bytes)) return decodeOnnx(bytes, file);
  if (!looksLikeSafetensors(bytes)) {
    const foreign = foreignWeights(bytes);
    if (foreign !== undefined) throw new UserError(`${file} ${foreign}`);
    throw new UserError(
      `${file} is neither a safetensors file, nor an ONNX model, nor one of Caffe's HDF5 weight files` +
        (bytes.length === 0 ? ': it is empty' : ', or it is cut short'),
    );
  }
  const { tensors: typed, metadata } = decodeSafetensors(bytes, file);
  const tensors = new Map<string, NamedArray>();
  for (const [name, { dtype, shape, data }] of typed) {
    if (name.endsWith(COUNTER)) continue;
    if (!FLOATS.includes(dtype)) {
      throw new UserError(
        `${file}: tensor ${quoted(name)} is of type ${dtype}, but weights are floats`,
      );
    }
    const floats = data instanceof Float32Array ? data : Float32Array.from(data as Float64Array);
    tensors.set(name, { shape, data: floats });
  }
  return { tensors: unwrapped(tensors), metadata, format: 'safetensors' };
}

async function decodeOnnx(bytes: Uint8Array, file: string): Promise<WeightFile> {
  const external = new Map<string, Uint8Array>();
  for (const name of externalFiles(bytes)) {
    external.set(name, await readBytes(besideModel(file, name)));
  }
  const graph = decodeGraph(bytes, file, external);
  const { metadata } = graph;
  return { metadata, format: 'onnx', ...importGraph(graph, file) };
}

/**
 * Tensors without the prefix that a wrapper around the network has put before each name, such as PyTorch's
 * `module.conv1.weight`; as they are if any has another prefix or none.
 */
function unwrapped(tensors: Map<string, NamedArray>): Map<string, NamedArray> {
  const prefix = /^(?:[A-Za-z_]\w*\.)+(?=[A-Za-z]\w*\.(?:weight|bias)$)/;
  const [first = ''] = [...tensors.keys()].flatMap((name) => prefix.exec(name) ?? []);
  if (first === '') return tensors;
  const bare = [...tensors].map(([name, tensor]) => {
    const rest = name.startsWith(first) ? name.slice(first.length) : name;
    return [rest, tensor] as const;
  });
  const isBare = ([name]: readonly [string, NamedArray]): boolean =>
    name === MEAN || /^[A-Za-z]\w*\.(weight|bias)$/.test(name);
  const hadPrefix = [...tensors.keys()].every((name) => name.startsWith(first) || name === MEAN);
  return hadPrefix && bare.every(isBare) ? new Map(bare) : tensors;
}
