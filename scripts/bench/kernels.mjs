// Single native kernels: `NETWORK.kernel.LAYER.KERNEL`, at the shapes of a training step.
import { makeRandom } from '#bang/base/random.js';
import { makeNetwork } from '#bang/model/network.js';
import { entryOf, QUICK, rounded, timed } from './timing.mjs';

/** Images in a step, as the configs have it. */
const STEP_BATCH = { lenet: 64, 'cifar10-quick': 100 };
const SGD = { rate: 1e-4, momentum: 0.9, weightDecay: 5e-4 };
/** What a max pooling of 2×2 leaves of kappa. */
const KAPPA_NONZERO = 0.25;
const RUNS = 30;
/** A sample lasts at least so long. */
const SAMPLE_MS = 2;

/** Each native kernel at the shape at which the network's layers call it in a training step. */
export async function kernelsOf(spec, binding, options) {
  const batch = STEP_BATCH[spec.name] ?? 100;
  const arrays = arraysFor(binding);
  const entries = [];
  for (const [i, layer] of makeNetwork(spec).layers.entries()) {
    const label = layer.name ?? `${layer.spec.kind}@${i}`;
    const shapes = shapesOf(layer, spec.layers, batch);
    const calls = [
      ...poolingCalls(layer, shapes, arrays, binding),
      ...weightedCalls(layer, shapes, arrays, binding),
    ];
    for (const { kernel, flops, values, work } of calls) {
      const times = await meanTimes(work, options);
      const entry = entryOf(`${spec.name}.kernel.${label}.${kernel}`, times, flops, { batch });
      entries.push({ ...entry, gbytes: rounded((4 * values) / entry.ms / 1e6) });
    }
  }
  return entries;
}

/** Random arrays, aligned as those of the engine are. */
function arraysFor(binding) {
  const random = makeRandom(1, 'bench kernels');
  const value = () => random.uniform() - 0.5;
  const filled = (Values, count, next) => {
    const { buffer, offset } = binding.allocate(Values.BYTES_PER_ELEMENT * count);
    const values = new Values(buffer, offset, count);
    for (let i = 0; i < count; i++) values[i] = next();
    return values;
  };
  const floats = (count, next = value) => filled(Float32Array, count, next);
  return {
    floats,
    sparse: (count) => floats(count, () => (random.uniform() < KAPPA_NONZERO ? value() : 0)),
    /** Numbers below `limit`. */
    bytes: (count, limit) => filled(Uint8Array, count, () => random.bits() % limit),
  };
}

/** How large what a layer takes and returns is, and the `geometry` of `engine/kernels/binding.ts`. */
function shapesOf({ spec, input, output, windows }, specs, batch) {
  const inputs = input.reduce((product, extent) => product * extent, batch);
  const outputs = output.reduce((product, extent) => product * extent, batch);
  // A convolution and the max pooling after it are one layer, whose output is the pooled one.
  const pooled = spec.kind === 'conv' && windows > output[0] * output[1];
  if (!pooled) return { batch, inputs, outputs, geometry: geometryOf(batch, spec, input, output) };
  const pooling = specs[specs.indexOf(spec) + 1];
  const [rows, columns] = input.map((extent) => extent + 2 * (spec.pad ?? 0) - spec.size + 1);
  const whole = [rows, columns, output[2]];
  return {
    ...{ batch, inputs, outputs },
    geometry: geometryOf(batch, spec, input, whole),
    pool: { geometry: geometryOf(batch, pooling, whole, output), window: pooling.size ** 2 },
  };
}

/** Undefined for layers that have none. */
function geometryOf(batch, { size, stride = 1, pad = 0 }, input, output) {
  if (size === undefined) return undefined;
  return Int32Array.of(batch, ...input, ...output, size, size, stride, stride, pad, pad);
}

/** The kernels of a pooling that is a layer of its own. `values` are those read and written. */
function poolingCalls({ spec: { kind } }, { inputs, outputs, geometry }, arrays, binding) {
  if (kind !== 'maxPool' && kind !== 'avgPool') return [];
  const [x, dx, y] = [inputs, inputs, outputs].map((count) => arrays.floats(count));
  const kappa = arrays.sparse(outputs);
  const back = kind === 'maxPool' ? [geometry, x, kappa, dx] : [geometry, kappa, dx];
  return [
    {
      kernel: 'forward',
      flops: null,
      values: inputs + outputs,
      work: () => binding[kind](geometry, x, y),
    },
    {
      kernel: 'inputGradient',
      flops: null,
      values: (kind === 'maxPool' ? 2 : 1) * inputs + outputs,
      work: () => binding[`${kind}Gradient`](...back),
    },
  ];
}

/** The kernels of a layer with weights. */
function weightedCalls(layer, { batch, inputs, outputs, geometry, pool }, arrays, binding) {
  if (!layer.weightShape) return [];
  const { floats, sparse, bytes } = arrays;
  const count = layer.weightShape.reduce((product, extent) => product * extent, 1);
  const O = layer.weightShape.at(-1);
  const I = count / O;
  const [x, dx, y] = [floats(inputs), floats(inputs), floats(outputs)];
  const [w, dw] = [floats(count), floats(count)];
  const [bias, db, scale, norm] = [floats(O), floats(O), floats(batch), floats(batch)];
  // Kappa of a pooled output is dense, and which pixel of each window it belongs to is known.
  const kappa = pool ? floats(outputs) : sparse(outputs);
  const winner = pool ? bytes(outputs, pool.window) : null;
  const newWinner = pool ? bytes(outputs, 1) : null;
  const poolGeometry = pool?.geometry ?? null;
  const products =
    layer.spec.kind === 'conv'
      ? {
          forward: () =>
            pool
              ? binding.conv2dMaxPool(geometry, poolGeometry, x, w, bias, y, newWinner)
              : binding.conv2d(geometry, x, w, bias, false, y),
          inputGradient: () =>
            binding.conv2dInputGradient(geometry, poolGeometry, winner, kappa, w, dx),
          weightGradient: () =>
            binding.conv2dWeightGradient(geometry, x, poolGeometry, winner, kappa, scale, dw, db),
        }
      : {
          forward: () => binding.matMul(batch, O, I, x, false, w, false, null, bias, false, y),
          inputGradient: () =>
            binding.matMul(batch, I, O, kappa, false, w, true, null, null, false, dx),
          weightGradient: () =>
            binding.matMul(I, O, batch, x, true, kappa, false, scale, null, false, dw),
        };
  const gradient = floats(count, () => 0.01);
  const velocity = floats(count, () => 0);
  return [
    ...Object.entries(products).map(([kernel, work]) => ({
      kernel,
      flops: 2 * batch * layer.windows * count,
      values: inputs + outputs + count,
      work,
    })),
    {
      kernel: 'norms',
      flops: 2 * outputs,
      values: outputs,
      work: () =>
        pool
          ? binding.pooledNorms(poolGeometry, winner, kappa, norm)
          : binding.rowNorms(batch, outputs / batch, kappa, norm),
    },
    {
      kernel: 'sgd',
      flops: 6 * count,
      values: 5 * count,
      work: () =>
        binding.sgd(count, w, velocity, gradient, SGD.rate, SGD.momentum, SGD.weightDecay),
    },
  ];
}

/** Kernels take microseconds: one sample is the mean of so many calls that a clock can tell. */
async function meanTimes(work, options) {
  const least = options.quick ? QUICK.kernelMs : SAMPLE_MS;
  let calls = 1;
  const sample = () => {
    const begun = performance.now();
    for (let i = 0; i < calls; i++) work();
    return performance.now() - begun;
  };
  sample();
  while (sample() < least && calls < 2 ** 16) calls *= 2;
  const runs = options.runs ?? (options.quick ? QUICK.runs : RUNS);
  const [times] = await timed([sample], { ...options, runs });
  return times.map((ms) => ms / calls);
}
