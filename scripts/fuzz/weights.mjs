// Targets: weight files. The damage is mostly where the structure is, not among the weights.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import { encodeCaffeHdf5 } from '#bang/model/files/caffe.js';
import { networkOf } from '#bang/config/experiment.js';
import { parseConfig } from '#bang/config/parse.js';
import { makeNetwork } from '#bang/model/network.js';
import { caffeShape } from '#bang/model/parameters.js';
import { encodeSafetensors, sealed } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { attempt, demandUnchanged, contentsOf, Fault, runInside } from './oracle.mjs';
import { below, chance, mutateBytes, mutateJson, mutateText, oneOf } from './mutate.mjs';
import { OWN_CONFIG } from './space.mjs';

/** The tensors of the small network, at random. */
function tensorsOf(config) {
  const random = makeRandom(1, 'weights');
  const array = (shape) => {
    const length = shape.reduce((a, b) => a * b, 1);
    return { shape, data: Float32Array.from({ length }, () => random.gaussian() / 10) };
  };
  return new Map(
    makeNetwork(networkOf(config)).weighted.flatMap((layer) => [
      [`${layer.name}.weight`, array(caffeShape(layer))],
      [`${layer.name}.bias`, array([caffeShape(layer)[0]])],
    ]),
  );
}

/** Tries files that `damage` makes: reads each, and hands some that can be read to `bang export`. */
function reading(make, damage) {
  return async (folder) => {
    const file = path.join(folder, 'x.bin');
    const sound = await make();
    return async (random) => {
      const bytes = damage(random, oneOf(random, sound));
      const input = `base64 ${Buffer.from(bytes).toString('base64')}`;
      writeFileSync(file, bytes);
      const { taken, value } = await attempt(input, () => readWeights(file));
      if (taken) demandTensors(value, input);
      if (taken && chance(random, 0.05)) {
        const before = contentsOf(folder);
        await runInside(
          ['export', file, '--to', 'onnx', '--out', path.join(folder, 'x.onnx')],
          input,
        );
        demandUnchanged(before, folder, input, (name) => name.endsWith('.onnx'));
      }
      return taken;
    };
  };
}

function demandTensors({ tensors }, input) {
  for (const [name, { shape, data }] of tensors) {
    const length = shape.reduce((a, b) => a * b, 1);
    if (data.length !== length)
      throw new Fault(`${name} has ${data.length} of ${length} values`, input);
    if (!data.every(Number.isFinite))
      throw new Fault(`${name} has a value that is not finite`, input);
  }
}

async function safetensors() {
  const config = parseConfig(OWN_CONFIG);
  const tensors = tensorsOf(config);
  const ours = sealed(tensors, {
    config: JSON.stringify(config),
    data: '0'.repeat(64),
    engine: 'x',
    bang: '0',
  });
  return [
    encodeSafetensors(tensors, ours),
    encodeSafetensors(tensors, { format: 'pt' }),
    encodeSafetensors(new Map([['a.weight', { shape: [], data: new Float32Array(1) }]]), {}),
  ].map((bytes) => Buffer.from(bytes));
}

/** Damage of the header's JSON, of its text, of its length, or of any byte. */
function damageSafetensors(random, bytes) {
  const length = Number(bytes.readBigUInt64LE());
  const header = bytes.subarray(8, 8 + length).toString('utf8');
  const kind = below(random, 4);
  if (kind === 0) return mutateBytes(random, bytes);
  if (kind === 1) return mutateBytes(random, bytes, { within: 8 + length });
  const changed =
    kind === 2
      ? JSON.stringify(mutateJson(random, JSON.parse(header)))
      : mutateText(random, header);
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(Buffer.byteLength(changed)));
  return Buffer.concat([head, Buffer.from(changed), bytes.subarray(8 + length)]);
}

async function hdf5() {
  const tensors = tensorsOf(parseConfig(OWN_CONFIG));
  const authors = path.join(packageRoot, 'test', 'fixtures', 'lenet.caffemodel.h5');
  return [
    Buffer.from(await encodeCaffeHdf5(tensors, {})),
    Buffer.from(await encodeCaffeHdf5(tensors, { config: JSON.stringify(OWN_CONFIG), note: 'x' })),
    // Its groups and attributes are those of another writer; what comes after them are weights.
    readFileSync(authors).subarray(0, 20_000),
  ];
}

/** The format's structures lie before the values. */
function damageHdf5(random, bytes) {
  return mutateBytes(random, bytes, { within: chance(random, 0.9) ? 12_000 : bytes.length });
}

export const targets = {
  safetensors: reading(safetensors, damageSafetensors),
  hdf5: reading(hdf5, damageHdf5),
};
