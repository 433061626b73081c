import { startEngine } from '../engine/engine.js';
import { encodeCaffeHdf5 } from '../model/files/caffe.js';
import type { NetworkSpec } from '../model/networks.js';
import { encodeOnnx } from '../model/files/onnx/encode.js';
import { disposeNetwork, exportNetwork } from '../model/parameters.js';
import { encodeSafetensors, sealed } from '../model/files/safetensors.js';
import type { NamedArray, WeightFile } from '../model/tensors.js';
import type { Progress } from '../base/progress.js';
import { version } from '../base/version.js';
import { loadWholeModel, openModel } from './models.js';
import { NETWORK, networkMetadata, type Reading, type ReadWeights } from './weightFile.js';

export const EXPORT_FORMATS = ['onnx', 'safetensors', 'caffe-hdf5'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface ExportOptions extends Reading {
  to: ExportFormat;
  /** A folder with the data set's files, instead of the cache. */
  dataDir?: string;
  progress: Progress;
  signal?: AbortSignal;
}

/** A weight file in another format, and its network. */
export interface Exported {
  bytes: Uint8Array;
  spec: NetworkSpec;
}

/**
 * Converts a file of weights, or those in the folder of a run, with the mean image that the network subtracts.
 *
 * @throws UserError if the file has no weights of the network, or the data cannot be loaded;
 *   Interrupted if `signal` aborts
 */
export async function convertWeights(given: string, options: ExportOptions): Promise<Exported> {
  const { to, dataDir, progress, signal } = options;
  const opened = await openModel(given, options);
  const { file, subject } = opened;
  for (const note of file.notes ?? []) progress.note(`note: ${note}`);
  // Any engine will do: the values are only reordered.
  await startEngine({ engine: 'cpu' });
  const model = await loadWholeModel(opened, { dataDir, progress, signal });
  try {
    const { spec } = model.network;
    return { bytes: await encode(to, spec, exportNetwork(model), metadataOf(file, subject)), spec };
  } finally {
    disposeNetwork(model);
  }
}

/** The metadata of weights, which say what network from elsewhere they are of. */
function metadataOf(
  { metadata, network }: WeightFile,
  subject: ReadWeights['subject'],
): WeightFile['metadata'] {
  const description = network && networkMetadata(subject);
  if (description === undefined) return metadata;
  return { [NETWORK]: description, bang: version(), sha256: '' };
}

async function encode(
  to: ExportFormat,
  spec: NetworkSpec,
  tensors: Map<string, NamedArray>,
  given: WeightFile['metadata'],
): Promise<Uint8Array> {
  // Weights of Caffe have no metadata, and get none.
  const metadata =
    given.sha256 === undefined ? given : sealed(tensors, given as Record<string, string>);
  switch (to) {
    case 'onnx':
      return encodeOnnx(spec, tensors, { version: version(), metadata });
    case 'safetensors':
      return encodeSafetensors(tensors, metadata as Record<string, string>);
    case 'caffe-hdf5':
      return encodeCaffeHdf5(tensors, metadata);
  }
}
