import { UserError } from '../../base/errors.js';
import { parseJson } from '../../base/files.js';
import { demandWasmMemory } from '../../base/wasm.js';
import { quoted } from '../../base/text.js';
import { isTableOfTexts } from './safetensors.js';
import { MEAN, type NamedArray } from '../tensors.js';

/** The parts of h5wasm's Emscripten module used here; its own types are incomplete. */
interface Hdf5Module {
  FS: {
    writeFile(path: string, bytes: Uint8Array): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
    open(path: string, flags: string): unknown;
    close(stream: unknown): void;
    getStream(descriptor: number): unknown;
  };
  HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(pointer: number): void;
  get_dataset_data(
    file: bigint,
    path: string,
    count: null,
    offset: null,
    strides: null,
    destination: bigint,
  ): number;
}

type H5wasm = typeof import('h5wasm');
type Group = InstanceType<H5wasm['Group']>;
type Dataset = InstanceType<H5wasm['Dataset']>;

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
/** The path of the file in h5wasm's in-memory file system. */
const VIRTUAL_FILE = '/weights.h5';
/** HDF5's type class numbers. */
const INTEGER = 0;
const FLOAT = 1;
/** Beside the mean image, what `encodeCaffeHdf5` stores outside `/data`, where Caffe ignores it. */
const METADATA = 'metadata';
/** HDF5's filters that are read: gzip, its byte shuffle, and checksums. */
const FILTERS = [1, 2, 3];
/** The bytes that the compressed arrays of a file may have: the largest network in doubles. */
const MAX_UNPACKED = 2 ** 27;

/** The bytes that may still be read from a file, of arrays that are compressed or not. */
type Room = Record<'plain' | 'unpacked', number>;

/** Caffe's names of a layer's parameters. */
const PARAMETERS = new Map([
  ['0', 'weight'],
  ['1', 'bias'],
]);

export function isHdf5(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

let loading: Promise<{ h5: H5wasm; module: Hdf5Module }> | undefined;

function loadH5wasm(): Promise<{ h5: H5wasm; module: Hdf5Module }> {
  // Loaded on demand, since it takes a tenth of a second.
  if (loading === undefined) demandWasmMemory('HDF5');
  loading ??= import('h5wasm').then(async (h5) => {
    const module = (await h5.ready) as unknown as Hdf5Module;
    // The HDF5 library prints a page to standard error for each problem; our own messages are enough.
    module.FS.close(module.FS.getStream(2));
    module.FS.open('/dev/null', 'w');
    return { h5, module };
  });
  return loading;
}

/** The content of a Caffe HDF5 file. */
export interface CaffeHdf5 {
  tensors: Map<string, NamedArray>;
  metadata: Record<string, string>;
}

/**
 * Reads the parameters in a Caffe HDF5 file, `/data/<layer>/0` and `/1`, as `<layer>.weight` and
 * `<layer>.bias`, and the mean image and metadata that `encodeCaffeHdf5` adds. Layers without parameters
 * are omitted.
 *
 * @param file the name of the file, for messages
 * @throws UserError if it is not a Caffe HDF5 file or is damaged
 */
export async function readCaffeHdf5(bytes: Uint8Array, file: string): Promise<CaffeHdf5> {
  const { h5, module } = await loadH5wasm();
  module.FS.writeFile(VIRTUAL_FILE, bytes);
  try {
    const opened = new h5.File(VIRTUAL_FILE, 'r');
    try {
      return readRoot(h5, module, opened, bytes.length, file);
    } finally {
      opened.close();
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${file}: a damaged or truncated HDF5 file`);
  } finally {
    module.FS.unlink(VIRTUAL_FILE);
  }
}

/**
 * A Caffe HDF5 file of the tensors `<layer>.weight`, `<layer>.bias` and `mean`. Caffe reads only `/data`;
 * the mean image is stored in `/mean`, C×H×W, and the metadata in `/metadata`, the bytes of a JSON
 * object.
 *
 * @throws RangeError if a tensor has another name
 */
export async function encodeCaffeHdf5(
  tensors: ReadonlyMap<string, NamedArray>,
  metadata: Readonly<Partial<Record<string, string>>>,
): Promise<Uint8Array> {
  const { h5, module } = await loadH5wasm();
  const file = new h5.File(VIRTUAL_FILE, 'w');
  try {
    try {
      const data = file.create_group('data');
      for (const [name, { shape, data: values }] of tensors) {
        const parts = /^([^/]+)\.(weight|bias)$/.exec(name);
        if (parts) {
          const [, layer, parameter] = parts;
          const key = [...PARAMETERS.keys()].find((one) => PARAMETERS.get(one) === parameter)!;
          const group = data.keys().includes(layer) ? data.get(layer) : data.create_group(layer);
          (group as Group).create_dataset({ name: key, data: values, shape });
        } else if (name === MEAN) {
          file.create_dataset({ name, data: values, shape });
        } else {
          throw new RangeError(`Caffe has no place for a tensor ${quoted(name)}`);
        }
      }
      if (Object.keys(metadata).length > 0) {
        const data = new TextEncoder().encode(JSON.stringify(metadata));
        file.create_dataset({ name: METADATA, data });
      }
    } finally {
      file.close();
    }
    return module.FS.readFile(VIRTUAL_FILE);
  } finally {
    module.FS.unlink(VIRTUAL_FILE);
  }
}

function readRoot(
  h5: H5wasm,
  module: Hdf5Module,
  root: Group,
  fileSize: number,
  file: string,
): CaffeHdf5 {
  if (!root.keys().includes('data')) {
    const keras = ['model_weights', 'layers', '_layer_checkpoint_dependencies'];
    const isKeras = root.keys().some((key) => keras.includes(key));
    const hint = isKeras
      ? ', and looks like a file of Keras: save the arrays as safetensors, named like conv1.weight'
      : '';
    throw new UserError(`${file}: not a Caffe weight file: it has no group /data${hint}`);
  }
  const data = root.get('data');
  if (!(data instanceof h5.Group)) {
    throw new UserError(`${file}: not a Caffe weight file: /data is not a group, or it is damaged`);
  }
  const tensors = new Map<string, NamedArray>();
  // Links can make many layers from one dataset, so their total size is limited to that of the file.
  const room: Room = { plain: fileSize, unpacked: MAX_UNPACKED };
  for (const layer of data.keys()) {
    const group = data.get(layer);
    if (!(group instanceof h5.Group)) {
      throw new UserError(
        `${file}: not a Caffe weight file: ${quoted(`/data/${layer}`)} is not a group, or it is damaged`,
      );
    }
    const arrays = new Map<string, NamedArray>();
    for (const key of group.keys()) {
      const place = `/data/${layer}/${key}`;
      const parameter = PARAMETERS.get(key);
      const dataset = group.get(key);
      if (parameter === undefined || !(dataset instanceof h5.Dataset)) {
        throw new UserError(
          `${file}: ${quoted(place)} is neither the weights nor the bias of a layer, or it is damaged`,
        );
      }
      const array = readFloats(module, dataset, room, `${file}: ${quoted(place)}`);
      arrays.set(parameter, array);
    }
    for (const [parameter, array] of withoutOldAxes(arrays)) {
      tensors.set(`${layer}.${parameter}`, array);
    }
  }
  const beside = (name: string): Dataset | undefined => {
    if (!root.keys().includes(name)) return undefined;
    const found = root.get(name);
    if (found instanceof h5.Dataset) return found;
    throw new UserError(`${file}: "/${name}" is not an array, or it is damaged`);
  };
  const mean = beside(MEAN);
  if (mean) {
    const array = readFloats(module, mean, room, `${file}: "/${MEAN}"`);
    tensors.set(MEAN, array);
  }
  const described = beside(METADATA);
  const metadata = described
    ? readMetadata(module, described, room, `${file}: "/${METADATA}"`)
    : {};
  return { tensors, metadata };
}

/**
 * The parameters of a layer without the leading axes of length 1 that Caffe gave every array before 2015: a
 * bias of 1×1×1×N, the weights of an inner product of 1×1×N×M. A filter of that shape has a bias of length 1,
 * and is square.
 */
function withoutOldAxes(arrays: Map<string, NamedArray>): Map<string, NamedArray> {
  const result = new Map(arrays);
  const cut = (name: string, axes: number): NamedArray | undefined => {
    const array = arrays.get(name);
    if (array?.shape.length !== 4) return array;
    if (array.shape.slice(0, axes).some((extent) => extent !== 1)) return array;
    const short = { ...array, shape: array.shape.slice(axes) };
    result.set(name, short);
    return short;
  };
  const outputs = cut('bias', 3)?.shape.at(-1);
  const [one, two, rows, columns] = arrays.get('weight')?.shape ?? [];
  const isProduct = outputs === rows && (rows > 1 || rows !== columns);
  if (one === 1 && two === 1 && isProduct) cut('weight', 2);
  return result;
}

function readFloats(module: Hdf5Module, dataset: Dataset, room: Room, place: string): NamedArray {
  const { type, size, shape, virtual_sources: virtual } = dataset.metadata;
  if (type !== FLOAT || (size !== 4 && size !== 8) || shape === null || virtual !== undefined) {
    throw new UserError(`${place} is not an array of 32-bit or 64-bit floating-point numbers`);
  }
  if (shape.length < 1 || shape.length > 4 || shape.includes(0)) {
    throw new UserError(
      `${place} has shape [${shape.join(', ')}], which no layer's parameters have`,
    );
  }
  const { buffer } = readBytes(module, dataset, shape, size, room, place);
  const data = size === 4 ? new Float32Array(buffer) : Float32Array.from(new Float64Array(buffer));
  return { shape: [...shape], data };
}

/** The JSON object of strings in `/metadata`. */
function readMetadata(
  module: Hdf5Module,
  dataset: Dataset,
  room: Room,
  place: string,
): Record<string, string> {
  const { type, size, shape, virtual_sources: virtual } = dataset.metadata;
  if (type !== INTEGER || size !== 1 || shape?.length !== 1 || virtual !== undefined) {
    throw new UserError(`${place} is not an array of bytes`);
  }
  const bytes = readBytes(module, dataset, shape, size, room, place);
  try {
    const metadata = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (isTableOfTexts(metadata)) return metadata;
  } catch {
    // Not JSON: reported below.
  }
  throw new UserError(`${place} is not a table of texts in JSON: the file is damaged`);
}

function readBytes(
  module: Hdf5Module,
  dataset: Dataset,
  shape: number[],
  size: number,
  room: Room,
  place: string,
): Uint8Array<ArrayBuffer> {
  const bytes = shape.reduce((a, b) => a * b, size);
  const filters = dataset.filters.map(({ id, name }) => ({ id, name }));
  const strange = filters.find(({ id }) => !FILTERS.includes(id));
  if (strange) {
    throw new UserError(
      `${place} is compressed with ${quoted(strange.name)}, which is not read: save it with gzip, or uncompressed`,
    );
  }
  const kind = filters.length > 0 ? 'unpacked' : 'plain';
  if (bytes > room[kind]) {
    throw new UserError(
      `${place} has shape [${shape.join(', ')}], more than ${kind === 'plain' ? 'the file holds: it is damaged' : 'is read of a compressed file'}`,
    );
  }
  room[kind] -= bytes;
  // Not `dataset.value`, which returns uninitialised memory when a read fails.
  const pointer = module._malloc(bytes);
  try {
    if (
      pointer === 0 ||
      module.get_dataset_data(dataset.file_id, dataset.path, null, null, null, BigInt(pointer)) < 0
    ) {
      throw new UserError(`${place} cannot be read: the file is damaged or truncated`);
    }
    return module.HEAPU8.slice(pointer, pointer + bytes);
  } finally {
    module._free(pointer);
  }
}
