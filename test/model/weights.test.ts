import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { encodeCaffeHdf5 } from '#bang/model/files/caffe.js';
import { decodeSafetensors, encodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import type { NamedArray } from '#bang/model/tensors.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import path from 'node:path';
import * as h5wasm from 'h5wasm';

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const caffeFile = fixture('lenet.caffemodel.h5');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-weights-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function save(bytes: Uint8Array | string): string {
  const file = path.join(folder, 'weights.bin');
  writeFileSync(file, bytes);
  return file;
}

/** What reading the file complains of: one line, in front the file's name, of a sensible length. */
async function complaint(bytes: Uint8Array | string): Promise<string> {
  const file = save(bytes);
  const error: unknown = await readWeights(file).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).toContain(file);
  expect(message).not.toContain('\n');
  expect(message.length).toBeLessThan(file.length + 250);
  return message.replace(file, 'FILE');
}

function below(random: Random, limit: number): number {
  return Math.floor(random.uniform() * limit);
}

/** A safetensors file as its parts say, sound or not. */
function assemble(header: unknown, data: Uint8Array, length?: bigint): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, data]);
}

function floats(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

describe('safetensors', () => {
  test('what was written is read again', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const random = makeRandom(seed, 'tensors');
      const names = ['conv1.weight', 'ü "quoted" \\ name', '__proto__', 'constructor', '0', ''];
      const tensors = new Map<string, NamedArray>();
      for (const name of names.slice(below(random, names.length))) {
        const shape = Array.from({ length: below(random, 5) }, () => below(random, 6));
        const size = shape.reduce((a, b) => a * b, 1);
        tensors.set(name, {
          shape,
          data: Float32Array.from({ length: size }, () => random.gaussian()),
        });
      }
      const metadata: Record<string, string> =
        seed % 2 === 0 ? {} : { layout: 'caffe', 'a "key"': 'ä\n', epoch: '7' };
      const bytes = encodeSafetensors(tensors, metadata);
      const read = await readWeights(save(bytes));
      expect(read.format).toBe('safetensors');
      expect(read.metadata).toEqual(metadata);
      expect(read.tensors.size).toBe(tensors.size);
      for (const [name, tensor] of tensors) expect(read.tensors.get(name)).toEqual(tensor);
      // Bytes do not depend on the order in which the tensors were made.
      expect(encodeSafetensors(new Map([...tensors].reverse()), metadata)).toEqual(bytes);
    }
  });

  test('written as the format wants it', () => {
    const view = new Float32Array([9, 1, 2]).subarray(1);
    const bytes = encodeSafetensors(new Map([['b', { shape: [2, 1], data: view }]]), { k: 'v' });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    expect(
      Buffer.from(bytes.subarray(8, 8 + length))
        .toString()
        .trimEnd(),
    ).toBe('{"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}');
    expect(bytes.subarray(8 + length)).toEqual(floats(1, 2));
    const wrong = new Map([['b', { shape: [3], data: view }]]);
    expect(() => encodeSafetensors(wrong, {})).toThrow(RangeError);
  });

  test('a file that another program wrote', () => {
    const file = fixture('bang-gradients-lenet.safetensors');
    const { tensors, metadata } = decodeSafetensors(readFileSync(file), file);
    expect(metadata.arch).toBe('lenet');
    expect(metadata.epsilon).toBe('0.815');
    expect(tensors.get('labels')).toMatchObject({ dtype: 'I64', shape: [64] });
    // The first labels of MNIST's training images.
    expect((tensors.get('labels')!.data as BigInt64Array).slice(0, 5)).toEqual(
      BigInt64Array.of(5n, 0n, 4n, 1n, 9n),
    );
    expect(tensors.get('correct')!.data).toBeInstanceOf(Uint8Array);
    const logits = tensors.get('logits')!;
    expect(logits.shape).toEqual([64, 10]);
    expect(logits.data).toBeInstanceOf(Float64Array);
    const eta = tensors.get('eta.conv1')!.data as Float64Array;
    expect(eta.every((value) => value >= 1)).toBe(true);
    const gradient = tensors.get('bang.ip1.weight_grad')!;
    expect(gradient.shape).toEqual([500, 800]);
    expect(gradient.data).toBeInstanceOf(Float32Array);
    expect(gradient.data.length).toBe(400_000);
  });

  test('every type of number', () => {
    const bits16 = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x0400);
    const bfloat = Uint16Array.of(0x3f80, 0xc000, 0x7f80);
    const parts: [string, Uint8Array, number[]][] = [
      ['F16', new Uint8Array(bits16.buffer), [1, -2, 2 ** -24, 65504, Infinity, 2 ** -14]],
      ['BF16', new Uint8Array(bfloat.buffer), [1, -2, Infinity]],
      ['F64', new Uint8Array(Float64Array.of(Math.PI).buffer), [Math.PI]],
      ['I8', Uint8Array.of(255), [-1]],
      ['BOOL', Uint8Array.of(1, 0), [1, 0]],
      ['I32', new Uint8Array(Int32Array.of(-7).buffer), [-7]],
      ['U16', new Uint8Array(Uint16Array.of(65535).buffer), [65535]],
    ];
    for (const [dtype, data, values] of parts) {
      // An odd length of the header: tensors need not be aligned.
      for (const pad of ['', ' ']) {
        const entry = { dtype, shape: [values.length], data_offsets: [0, data.length] };
        const bytes = assemble(JSON.stringify({ t: entry }) + pad, data);
        const { tensors } = decodeSafetensors(bytes, 'f');
        expect(Array.from(tensors.get('t')!.data, Number)).toEqual(values);
      }
    }
  });

  test('weights of other float types', async () => {
    const data = new Uint8Array(Float64Array.of(0.1, 2).buffer);
    const entry = { dtype: 'F64', shape: [2], data_offsets: [0, 16] };
    const { tensors } = await readWeights(save(assemble({ t: entry }, data)));
    expect(tensors.get('t')!.data).toEqual(Float32Array.of(0.1, 2));
  });

  test('damaged and hostile files', async () => {
    const good = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
    const two = floats(1, 2);
    expect((await readWeights(save(assemble({ t: good }, two)))).tensors.size).toBe(1);
    const cases: [unknown, Uint8Array, RegExp][] = [
      [{ t: good }, floats(1), /"t" lies outside of the file; truncated/],
      [{ t: good }, floats(1, 2, 3), /4 bytes at its end belong to no tensor/],
      [{ t: good, u: good }, two, /"u" overlaps another/],
      [{ t: { ...good, data_offsets: [4, 12] } }, floats(1, 2, 3), /"t" overlaps .* gap/],
      [{ t: { ...good, data_offsets: [8, 0] } }, two, /outside/],
      [{ t: { ...good, data_offsets: [0, 2 ** 60] } }, two, /malformed/],
      [{ t: { ...good, data_offsets: [-8, 0] } }, two, /malformed/],
      [{ t: { ...good, data_offsets: [0, 8, 8] } }, two, /malformed/],
      [{ t: { ...good, shape: [3] } }, two, /8 bytes, which its shape does not fit/],
      [{ t: { ...good, shape: [2 ** 52, 2 ** 52] } }, two, /shape does not fit/],
      [{ t: { ...good, shape: [0, 2 ** 52] } }, two, /shape does not fit/],
      [{ t: { ...good, shape: [1.5] } }, two, /malformed/],
      [{ t: { ...good, shape: 'x' } }, two, /malformed/],
      [{ t: { ...good, extra: 1 } }, two, /malformed/],
      [{ t: { ...good, dtype: 'F8' } }, two, /unknown type "F8"/],
      [{ t: { ...good, dtype: 'toString' } }, two, /unknown type/],
      [{ t: { ...good, dtype: 'I32' } }, two, /"t" is of type I32, but weights are floats/],
      [{ t: null }, two, /"t" is malformed/],
      [{ ['evil\n\u001b[31m'.repeat(40)]: null }, two, /evil\\n/],
      [{ t: good, __metadata__: { a: 1 } }, two, /metadata/],
      [{ t: good, __metadata__: [] }, two, /metadata/],
      [`{"t":${JSON.stringify(good)},"t":${JSON.stringify(good)}}`, two, /twice/],
      [`{"\\u0074":${JSON.stringify(good)},"t":${JSON.stringify(good)}}`, two, /twice/],
      ['{"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', two, /twice/],
      ['{"__proto__":{"dtype":"F32"}}', two, /"__proto__" is malformed/],
      ['{', two, /not JSON/],
      [`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, two, /malformed/],
      [`{"${'a'.repeat(2_000_000)}":1}`, two, /malformed/],
      [{ t: good }, floats(1, NaN), /"t" has the value NaN/],
      [{ t: good }, floats(-Infinity, 2), /"t" has the value -Infinity/],
    ];
    for (const [header, data, message] of cases) {
      expect(await complaint(assemble(header, data))).toMatch(message);
    }
    expect(await complaint(assemble({ t: good }, two, 10_000n))).toMatch(/truncated/);
    expect(await complaint(assemble({ t: good }, two, 2n ** 47n))).toMatch(/truncated/);
    expect(await complaint(assemble({ t: good }, two, 2n ** 63n))).toMatch(/neither/);
    const utf8 = assemble({ ab: good }, two);
    utf8[11] = 0xff;
    expect(await complaint(utf8)).toMatch(/not JSON/);
  });

  test('mutations are read or refused', () => {
    const tensors = new Map([
      ['conv1.weight', { shape: [2, 1, 3, 3], data: new Float32Array(18).fill(0.5) }],
      ['conv1.bias', { shape: [2], data: new Float32Array(2) }],
    ]);
    const sound = encodeSafetensors(tensors, { layout: 'caffe', note: 'x' });
    const random = makeRandom(1, 'mutations');
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      let bytes = Uint8Array.from(sound);
      for (let k = 1 + below(random, 4); k > 0; k--) {
        const others = ['"', '{', '}', '[', ']', ',', ':', '0', '9', '\\', '\0', '\xff'];
        bytes[below(random, bytes.length)] = others[below(random, others.length)].charCodeAt(0);
      }
      if (i % 5 === 0) bytes = bytes.slice(0, below(random, bytes.length));
      try {
        for (const tensor of decodeSafetensors(bytes, 'f').tensors.values()) {
          expect(tensor.data.length).toBe(tensor.shape.reduce((a, b) => a * b, 1));
        }
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1500);
  });
});

describe('Caffe’s HDF5', () => {
  /** A file that `fill` makes with h5wasm. */
  async function hdf5(fill: (file: h5wasm.File) => void): Promise<Uint8Array> {
    const { FS } = await h5wasm.ready;
    const file = new h5wasm.File('/made.h5', 'w');
    fill(file);
    file.close();
    const bytes = FS.readFile('/made.h5').slice();
    FS.unlink('/made.h5');
    return bytes;
  }

  test('the authors’ LeNet', async () => {
    const { tensors, format, metadata } = await readWeights(caffeFile);
    expect([format, metadata]).toEqual(['caffe-hdf5', {}]);
    expect([...tensors].map(([name, { shape }]) => [name, shape])).toEqual([
      ['conv1.weight', [20, 1, 5, 5]],
      ['conv1.bias', [20]],
      ['conv2.weight', [50, 20, 5, 5]],
      ['conv2.bias', [50]],
      ['ip1.weight', [500, 800]],
      ['ip1.bias', [500]],
      ['ip2.weight', [10, 500]],
      ['ip2.bias', [10]],
    ]);
    for (const { shape, data } of tensors.values()) {
      expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
    }
    // Xavier's initial range for 800 inputs is ±0.061, and training does not leave it by far.
    const { data } = tensors.get('ip1.weight')!;
    expect(data.reduce((a, b) => Math.max(a, Math.abs(b)), 0)).toBeLessThan(0.5);
    const converted = await readWeights(save(encodeSafetensors(tensors, {})));
    const [before, after] = [tensors, converted.tensors].map((t) => encodeSafetensors(t, {}));
    expect(Buffer.compare(before, after)).toBe(0);
  });

  test('what was written is read again', async () => {
    const { tensors } = await readWeights(caffeFile);
    const mean = { shape: [3, 2, 1], data: Float32Array.of(-0, 1e-45, 3.4e38, 0.1, -5, 255) };
    const metadata = { config: '{"a": "ü"}', '': 'x', 'a/b': '', ['__proto__']: 'y' };
    const large = 'x'.repeat(100_000);
    for (const [more, said] of [
      [[], {}],
      [[['mean', mean]], { ...metadata, large }],
    ] as [[string, NamedArray][], Record<string, string>][]) {
      const written = new Map([...tensors, ...more]);
      const read = await readWeights(save(await encodeCaffeHdf5(written, said)));
      expect(read.format).toBe('caffe-hdf5');
      expect(read.metadata).toEqual(said);
      const [before, after] = [written, read.tensors].map((t) => encodeSafetensors(t, {}));
      expect(Buffer.compare(before, after)).toBe(0);
    }
    const one = { shape: [1], data: Float32Array.of(1) };
    for (const name of ['x', 'a/b.weight', '.weight', 'conv1.mean']) {
      await expect(encodeCaffeHdf5(new Map([[name, one]]), {})).rejects.toThrow(RangeError);
    }
  });

  test('other files of the kind', async () => {
    const double = await hdf5((file) => {
      const layer = file.create_group('data').create_group('ip');
      layer.create_dataset({ name: '0', data: Float64Array.of(0.1, 0.2), shape: [1, 2] });
    });
    expect((await readWeights(save(double))).tensors).toEqual(
      new Map([['ip.weight', { shape: [1, 2], data: Float32Array.of(0.1, 0.2) }]]),
    );

    const one = Float32Array.of(1, 2);
    const cases: [(file: h5wasm.File) => void, RegExp][] = [
      [
        (file) => {
          // A few kB, 4 MB unpacked, as 40 layers.
          const values = new Float32Array(1_000_000);
          const data = file.create_group('data');
          const first = data.create_group('n0');
          first.create_dataset({ name: '0', data: values, chunks: [100_000], compression: 9 });
          for (let i = 1; i < 40; i++)
            data.create_group(`n${i}`).create_soft_link('/data/n0/0', '0');
        },
        /"\/data\/n\d+\/0" has shape \[1000000\], more than is read of a compressed file/,
      ],
      [(file) => file.create_group('model_weights'), /no group \/data, and looks .* Keras: save /],
      [(file) => file.create_group('other'), /no group \/data$/],
      [(file) => file.create_dataset({ name: 'data', data: one }), /\/data is not a group/],
      [
        (file) => file.create_group('data').create_dataset({ name: 'ip', data: one }),
        /"\/data\/ip" is not a group/,
      ],
    ];
    const layers: [(layer: h5wasm.Group) => void, RegExp][] = [
      [(layer) => layer.create_dataset({ name: '2', data: one }), /"\/data\/ip\/2" is neither/],
      [(layer) => layer.create_group('0'), /"\/data\/ip\/0" is neither/],
      [(layer) => layer.create_dataset({ name: '0', data: Int32Array.of(1) }), /floating-point/],
      [(layer) => layer.create_dataset({ name: '0', data: ['text'] }), /floating-point/],
      [
        (layer) => layer.create_dataset({ name: '0', data: one, shape: [1, 1, 1, 1, 2] }),
        /shape \[1, 1, 1, 1, 2\]/,
      ],
      [
        (layer) => layer.create_dataset({ name: '0', data: Float32Array.of(1, NaN) }),
        /"ip.weight" has the value NaN/,
      ],
      [
        (layer) =>
          layer.create_dataset({
            name: '0',
            data: new Float32Array(2 ** 25 + 1),
            chunks: [2 ** 20],
            compression: 1,
          }),
        /shape \[33554433\], more than is read of a compressed file/,
      ],
      [(layer) => layer.create_soft_link('/nowhere', '0'), /is neither/],
      [(layer) => layer.create_external_link('/etc/passwd', '/data', '0'), /is neither/],
    ];
    const beside: [(root: h5wasm.File) => void, RegExp][] = [
      [(root) => root.create_group('mean'), /"\/mean" is not an array/],
      [
        (root) => root.create_dataset({ name: 'mean', data: ['text'] }),
        /"\/mean" .*floating-point/,
      ],
      [(root) => root.create_soft_link('/nowhere', 'mean'), /"\/mean" is not an array/],
      [(root) => root.create_group('metadata'), /"\/metadata" is not an array/],
      [(root) => root.create_dataset({ name: 'metadata', data: one }), /not an array of bytes/],
      [
        (root) =>
          root.create_dataset({ name: 'metadata', data: new TextEncoder().encode('{"a": 1}') }),
        /not a table of texts/,
      ],
      [
        (root) => root.create_dataset({ name: 'metadata', data: Uint8Array.of(0xff) }),
        /not a table of texts/,
      ],
    ];
    for (const [fill, message] of beside) {
      cases.push([
        (file) => {
          file.create_group('data');
          fill(file);
        },
        message,
      ]);
    }
    for (const [fill, message] of layers) {
      cases.push([
        (file) => {
          fill(file.create_group('data').create_group('ip'));
        },
        message,
      ]);
    }
    for (const [fill, message] of cases) expect(await complaint(await hdf5(fill))).toMatch(message);
  });

  test('compressed, and with the four axes of old files, gives the same', async () => {
    const { tensors } = await readWeights(caffeFile);
    const old = await hdf5((file) => {
      const data = file.create_group('data');
      for (const [name, { shape, data: values }] of tensors) {
        const [layer, parameter] = name.split('.');
        const group = data.keys().includes(layer) ? data.get(layer) : data.create_group(layer);
        const four = [...new Array<number>(4 - shape.length).fill(1), ...shape];
        (group as h5wasm.Group).create_dataset({
          name: parameter === 'weight' ? '0' : '1',
          data: values,
          shape: four,
          chunks: four,
          compression: 6,
        });
      }
    });
    expect(old.length).toBeLessThan(readFileSync(caffeFile).length);
    const read = await readWeights(save(old));
    const [before, after] = [tensors, read.tensors].map((t) => encodeSafetensors(t, {}));
    expect(Buffer.compare(before, after)).toBe(0);
  });

  test.each([
    // An inner product and its bias; a filter of one channel is not one.
    [[1, 1, 3, 3], [1, 1, 1, 3], [3, 3], [3]],
    [[1, 1, 1, 9], [1, 1, 1, 1], [1, 9], [1]],
    [[1, 1, 3, 3], [1, 1, 1, 1], [1, 1, 3, 3], [1]],
    [[1, 1, 3, 3], [1], [1, 1, 3, 3], [1]],
    [[3, 1, 3, 3], [1, 1, 1, 3], [3, 1, 3, 3], [3]],
    [[3, 3], [3], [3, 3], [3]],
  ])('weights %j and bias %j are %j and %j', async (weight, bias, asWeight, asBias) => {
    const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
    const file = await hdf5((root) => {
      const layer = root.create_group('data').create_group('a');
      const zeros = (shape: number[]) => new Float32Array(size(shape));
      layer.create_dataset({ name: '0', data: zeros(weight), shape: weight });
      layer.create_dataset({ name: '1', data: zeros(bias), shape: bias });
    });
    const { tensors } = await readWeights(save(file));
    expect(tensors.get('a.weight')?.shape).toEqual(asWeight);
    expect(tensors.get('a.bias')?.shape).toEqual(asBias);
  });

  test('huge claimed shapes', async () => {
    // A contiguous dataset whose dimension, 64 bits in the file, is overwritten.
    const bytes = await hdf5((file) => {
      const layer = file.create_group('data').create_group('ip');
      layer.create_dataset({ name: '0', data: new Float32Array(4242), shape: [4242] });
    });
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const places = Array.from({ length: bytes.length - 8 }, (_, i) => i).filter(
      (i) => view.getBigUint64(i, true) === 4242n,
    );
    expect(places.length).toBeGreaterThan(0);
    for (const claimed of [2n ** 20n, 2n ** 40n, 2n ** 62n, 2n ** 64n - 1n]) {
      for (const place of places) view.setBigUint64(place, claimed, true);
      expect(await complaint(bytes)).toMatch(/more than the file holds|damaged/);
    }
  });

  test.each([
    ["the authors'", () => Promise.resolve(readFileSync(caffeFile))],
    [
      'our own',
      async () => {
        const data = new Float32Array(3072).fill(0.5);
        const tensors = new Map([
          ['conv1.weight', { shape: [2, 1, 3, 3], data: data.subarray(0, 18) }],
          ['conv1.bias', { shape: [2], data: data.subarray(0, 2) }],
          ['mean', { shape: [3, 32, 32], data }],
        ]);
        return Buffer.from(await encodeCaffeHdf5(tensors, { config: '{}', bang: '0.1.0' }));
      },
    ],
  ])('%s, damaged, are read or refused, and leave the reader sound', async (_whose, make) => {
    const sound = await make();
    const good = encodeSafetensors((await readWeights(caffeFile)).tensors, {});
    // Where the structure lies: elsewhere is but weights.
    const places = ['HDF', 'TREE', 'SNOD', 'HEAP'].flatMap((signature) => {
      const found: number[] = [];
      for (let at = -1; (at = sound.indexOf(signature, at + 1)) >= 0;) found.push(at);
      return found;
    });
    const random = makeRandom(2, 'mutations');
    const hostile = [0n, 96n, 800n, 2n ** 31n, 2n ** 32n, 2n ** 40n, 2n ** 62n, 2n ** 64n - 1n];
    const before = process.memoryUsage().rss;
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      let bytes = Uint8Array.from(sound);
      if (i % 4 === 0) {
        bytes = bytes.slice(0, i % 8 === 0 ? below(random, 3000) : below(random, bytes.length));
      } else {
        const view = new DataView(bytes.buffer);
        for (let k = 1 + below(random, 8); k > 0; k--) {
          const near = places[below(random, places.length)] + 8 + below(random, 600);
          const place = Math.min(near, bytes.length - 8);
          const from = below(random, 6000);
          const kind = below(random, 10);
          if (kind < 2) bytes[place] = [0, 1, 127, 255][below(random, 4)];
          else if (kind < 6) bytes[place] = random.bits();
          // A size or an address: absurd, or of something else. An offset may point to itself.
          else if (kind < 8) view.setBigUint64(place, hostile[below(random, hostile.length)], true);
          else bytes.copyWithin(place, from, from + 8);
        }
      }
      const file = save(bytes);
      try {
        for (const { shape, data } of (await readWeights(file)).tensors.values()) {
          expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
        }
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        expect(error.message).toContain(file);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(80);
    // The files have 2 MB at most: no size that they claim was believed.
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 2 ** 20);
    const again = encodeSafetensors((await readWeights(caffeFile)).tensors, {});
    expect(Buffer.compare(again, good)).toBe(0);
  });

  test('damaged files are refused in silence', () => {
    const file = save(readFileSync(caffeFile).subarray(0, 20_000));
    const weights = new URL('../../dist/model/files/weights.js', import.meta.url).href;
    const script = `
      import { readWeights } from ${JSON.stringify(weights)};
      await readWeights(${JSON.stringify(file)}).catch((error) => console.log(error.message));`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout.toString()).toBe(`${file}: a damaged or truncated HDF5 file\n`);
    expect(stderr.toString()).toBe('');
  });
});

describe('names with a prefix', () => {
  const one = { shape: [1], data: Float32Array.of(1) };
  const names = ['conv1.weight', 'conv1.bias', 'ip2.weight', 'ip2.bias'];
  const read = async (written: string[]): Promise<string[]> => {
    const bytes = encodeSafetensors(new Map(written.map((name) => [name, one])), {});
    return [...(await readWeights(save(bytes))).tensors.keys()].sort();
  };

  test.each(['module.', 'model.', '_orig_mod.module.', 'net.body.'])(
    '%s is dropped',
    async (prefix) => {
      expect(await read(names.map((name) => prefix + name))).toEqual([...names].sort());
      expect(await read([...names.map((name) => prefix + name), `${prefix}mean`])).toContain(
        'mean',
      );
      expect(await read([...names.map((name) => prefix + name), 'mean'])).toContain('mean');
    },
  );

  test('stay where they are not the same, or what is left is no layer', async () => {
    for (const written of [
      names,
      ['module.conv1.weight', 'conv1.bias'],
      ['a.conv1.weight', 'b.conv1.bias'],
      ['features.0.weight', 'features.0.bias'],
      ['module.conv1.weight', 'module.conv1.running_mean'],
      ['module.conv1.weight', 'conv1.weight'],
    ]) {
      expect(await read(written)).toEqual([...written].sort());
    }
  });
});

describe('other files', () => {
  /** By Python's pickle and zipfile; the zip archives have the names that torch.save and numpy.savez give. */
  const files: [string, Uint8Array | string, RegExp][] = [
    [
      'PyTorch',
      'UEsDBBQAAAAAAAAAIQDykQLFBgAAAAYAAAAOAAAAbGVuZXQvZGF0YS5wa2yAAn1xAC5QSwMEFAAAAAAAAAAhANGeZ1UCAAAAAgAAAA0AAABsZW5ldC92ZXJzaW9uMwpQSwECFAMUAAAAAAAAACEA8pECxQYAAAAGAAAADgAAAAAAAAAAAAAAgAEAAAAAbGVuZXQvZGF0YS5wa2xQSwECFAMUAAAAAAAAACEA0Z5nVQIAAAACAAAADQAAAAAAAAAAAAAAgAEyAAAAbGVuZXQvdmVyc2lvblBLBQYAAAAAAgACAHcAAABfAAAAAAA=',
      /^FILE is a PyTorch checkpoint \(\.pth, \.pt\): save its state dict with safetensors\.torch\.save_file and give that file$/,
    ],
    [
      'PyTorch before 1.6',
      'gAKKCmz8nEb5IGqoUBkugAJN6QMu',
      /^FILE is a PyTorch checkpoint, a Python pickle: save its state dict with /,
    ],
    [
      'NumPy',
      'UEsDBBQAAAAAAAAAIQA/TEKdCAAAAAgAAAAQAAAAY29udjEud2VpZ2h0Lm5weZNOVU1QWQEAUEsBAhQDFAAAAAAAAAAhAD9MQp0IAAAACAAAABAAAAAAAAAAAAAAAIABAAAAAGNvbnYxLndlaWdodC5ucHlQSwUGAAAAAAEAAQA+AAAANgAAAAAA',
      /^FILE is an archive of NumPy arrays \(\.npz\): save the arrays as safetensors, named like conv1\.weight/,
    ],
    [
      'pickle, protocol 4',
      'gASVHwAAAAAAAAB9lIwMY29udjEud2VpZ2h0lF2URz/wAAAAAAAAYXMu',
      /^FILE is a Python pickle: save /,
    ],
    [
      'pickle, protocol 2',
      'gAJ9cQBYDAAAAGNvbnYxLndlaWdodHEBXXECRz/wAAAAAAAAYXMu',
      /^FILE is a Python pickle: save /,
    ],
    ['NumPy, one array', Buffer.from('\x93NUMPY\x01\0', 'latin1'), /^FILE is a NumPy array /],
    [
      'Caffe',
      // NetParameter { name: "LeNet", layer { name: "ip1" type: "InnerProduct" } }
      Buffer.from('\x0a\x05LeNet\xa2\x06\x13\x0a\x03ip1\x12\x0cInnerProduct', 'latin1'),
      /^FILE is a binary \.caffemodel of Caffe: load it with pycaffe and save it with net\.save_hdf5/,
    ],
    [
      'Caffe before 2014',
      // NetParameter { name: "LeNet", layers { name: "ip1" } }
      Buffer.from('\x0a\x05LeNet\x12\x05\x22\x03ip1', 'latin1'),
      /^FILE is a binary \.caffemodel of Caffe: /,
    ],
    [
      'Git LFS',
      Buffer.from(
        'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n',
      ),
      /^FILE is a Git LFS pointer, not the file that it stands for: run git lfs pull$/,
    ],
    [
      'HTML',
      Buffer.from('\ufeff\n<!DOCTYPE html>\n<html><body>Not Found</body></html>'),
      /^FILE is a web page, not the file that it offers: download the file itself$/,
    ],
    ['gzip', gzipSync('x'), /^FILE is compressed with gzip: unpack it with gunzip$/],
    ['empty', Buffer.alloc(0), /^FILE is neither .*: it is empty$/],
  ];
  test.each(files)('%s', async (_name, content, message) => {
    const bytes = typeof content === 'string' ? Buffer.from(content, 'base64') : content;
    expect(await complaint(bytes)).toMatch(message);
  });

  test('are named and refused', async () => {
    expect(await complaint('')).toMatch(/^FILE is neither/);
    expect(await complaint('{"json": 1}')).toMatch(/neither/);
    expect(await complaint('\x89HDF\r\n')).toMatch(/neither/);
    const random = makeRandom(3, 'bytes');
    for (let i = 0; i < 100; i++) {
      await complaint(Uint8Array.from({ length: below(random, 200) }, () => random.bits()));
    }
    await expect(readWeights(path.join(folder, 'none'))).rejects.toThrow(/no such file/);
    await expect(readWeights(folder)).rejects.toThrow(/it is a folder/);
    await expect(readWeights('/dev/zero')).rejects.toThrow(/is not a file/);
  });
});
