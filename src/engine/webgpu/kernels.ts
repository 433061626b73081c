import type { Kernels } from '../kernels/binding.js';
import type { Device, DeviceArray } from './device.js';
import { forward } from './kernels/forward.js';
import { inSize, outSize, shapeOf, tilesByCells } from './kernels/geometry.js';
import { scratch } from './kernels/launch.js';
import { avgPool, avgPoolGradient, maxPool, maxPoolGradient, unpool } from './kernels/pooling.js';
import {
  convolve,
  convolveAndPool,
  inputGradient,
  matMul,
  weightGradient,
} from './kernels/products.js';
import { rowKernels } from './kernels/rows.js';
import { valueKernels } from './kernels/values.js';

/**
 * The kernels of `native/kernels.def` on a GPU: the same names, arguments and results. How many images there
 * are differs from call to call; all other extents are constants of the WGSL.
 */
export type DeviceKernels = Kernels<DeviceArray, DeviceArray, DeviceArray>;

/** The kernels for this device. */
export function makeKernels(device: Device): DeviceKernels {
  const values = valueKernels(device);
  const rows = rowKernels(device);
  return {
    ...values,
    ...rows,
    matMul: (...given) => {
      matMul(device, ...given);
    },
    conv2d: (...given) => {
      convolve(device, ...given);
    },
    conv2dMaxPool: (geometry, pool, x, filters, bias, y, winners) => {
      convolveAndPool(device, geometry, pool, { x, filters, bias }, false, { y, winners });
    },
    conv2dInputGradient: (...given) => {
      inputGradient(device, ...given);
    },
    conv2dWeightGradient: (...given) => {
      weightGradient(device, ...given);
    },
    // Where cells tile the image, each value of kappa is one of the convolution's output.
    pooledNorms: (pool, winner, kappa, norm) => {
      const [batch] = pool;
      const pooling = shapeOf(pool);
      if (tilesByCells(pooling)) {
        rows.rowNorms(batch, outSize(pooling), kappa, norm);
        return;
      }
      scratch(device, batch * inSize(pooling), (map) => {
        unpool(device, batch, pooling, { kappa, winner }, map);
        rows.rowNorms(batch, inSize(pooling), map, norm);
      });
    },
    maxPool: (geometry, x, y) => {
      maxPool(device, geometry[0], shapeOf(geometry), x, { y, winners: null });
    },
    maxPoolGradient: (geometry, x, dy, dx) => {
      maxPoolGradient(device, geometry[0], shapeOf(geometry), { x, dy }, dx);
    },
    avgPool: (geometry, x, y) => {
      avgPool(device, geometry[0], shapeOf(geometry), x, y);
    },
    avgPoolGradient: (geometry, dy, dx) => {
      avgPoolGradient(device, geometry[0], shapeOf(geometry), dy, dx);
    },
    forward: (...given) => {
      forward(device, values.normalize, ...given);
    },
  };
}
