import { LAYER_KINDS, type LayerKind } from '../../kernels/binding.js';
import type { Device, DeviceArray } from '../device.js';
import type { DeviceKernels } from '../kernels.js';
import { forImages, inSize, outSize, shapeOf } from './geometry.js';
import { images, pieces } from './launch.js';
import { avgPool, maxPool } from './pooling.js';
import { convolve, convolveAndPool, matMul } from './products.js';

/** Numbers of a layer in the program of `forward`: its kind, whether ReLU follows, its geometry. */
const WIDTH = 15;

interface Layer {
  kind: LayerKind;
  relu: boolean;
  geometry: Int32Array;
  /** Of the first two kinds. */
  weight: DeviceArray | undefined;
  bias: DeviceArray | undefined;
}

function layersOf(program: Int32Array, parameters: readonly DeviceArray[]): Layer[] {
  const left = [...parameters];
  return Array.from({ length: program.length / WIDTH }, (_, i) => {
    const [number, relu, ...geometry] = program.subarray(i * WIDTH, (i + 1) * WIDTH);
    const kind = LAYER_KINDS[number];
    const weighted = kind === 'conv' || kind === 'innerProduct';
    const [weight, bias] = weighted ? left.splice(0, 2) : [];
    return { kind, relu: relu === 1, geometry: Int32Array.from(geometry), weight, bias };
  });
}

/** The kernel `forward`: one layer after the other, a convolution together with the max pooling after it. */
export function forward(
  device: Device,
  normalize: DeviceKernels['normalize'],
  ...[, program, x, mean, factor, logits, ...parameters]: Parameters<DeviceKernels['forward']>
): void {
  const layers = layersOf(program, parameters);
  const size = inSize(shapeOf(layers[0].geometry));
  const sizes = layers.map(({ geometry }) => outSize(shapeOf(geometry)));
  pieces(layers[0].geometry[0], Math.max(size, ...sizes), (begin, count) => {
    let values = device.take(count * size);
    normalize(count, size, images(x, size, begin, count), mean, factor, values);
    for (let i = 0; i < layers.length; i++) {
      const layer = layers[i];
      const next = layers.at(i + 1);
      const pools = layer.kind === 'conv' && next?.kind === 'maxPool';
      if (pools) i++;
      const isLast = i === layers.length - 1;
      const y = isLast ? images(logits, sizes[i], begin, count) : device.take(count * sizes[i]);
      const geometry = forImages(count, layer.geometry);
      if (pools) {
        const from = { x: values, filters: layer.weight!, bias: layer.bias! };
        const pool = forImages(count, next.geometry);
        const relu = layer.relu || next.relu;
        convolveAndPool(device, geometry, pool, from, relu, { y, winners: null });
      } else {
        runLayer(device, layer, geometry, values, y);
      }
      device.release(values);
      values = y;
    }
  });
}

function runLayer(
  device: Device,
  { kind, relu, weight, bias }: Layer,
  geometry: Int32Array,
  x: DeviceArray,
  y: DeviceArray,
): void {
  const [batch] = geometry;
  const shape = shapeOf(geometry);
  switch (kind) {
    case 'conv':
      convolve(device, geometry, x, weight!, bias!, relu, y);
      break;
    case 'innerProduct': {
      const [outputs, inputs] = [shape.outC, inSize(shape)];
      matMul(device, batch, outputs, inputs, x, false, weight!, false, null, bias!, relu, y);
      break;
    }
    case 'maxPool':
      maxPool(device, batch, shape, x, { y, winners: null }, relu);
      break;
    case 'avgPool':
      avgPool(device, batch, shape, x, y, relu);
      break;
  }
}
