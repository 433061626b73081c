import type { tf } from '../../base/tf.js';
import type { Call, Kernel } from '../kernels/arguments.js';
import type { WebgpuBackend } from './backend.js';
import type { DeviceArray } from './device.js';
import { each } from './kernels/launch.js';

/** Kernels that only a device has, so that little is sent to it and read back. */
export const DEVICE_ADDITIONS: Record<string, Kernel> = {
  /** The images at `positions`, of a data set that stays on the device; undefined if it is too large for that. */
  BangImages: (call) => {
    const { images, positions, shape } = call.attrs as unknown as {
      images: Uint8Array;
      positions: ArrayLike<number>;
      shape: number[];
    };
    const { device } = backendOf(call);
    const bytes = device.resident(images);
    if (!bytes) return undefined;
    const rows = device.upload(Uint32Array.from(positions));
    const values = shape[1] * shape[2] * shape[3];
    const info = made(call, shape, (y) => {
      each(
        device,
        'images',
        y.length,
        { reads: { bytes, rows }, writes: { y }, integers: { values } },
        () => ({
          body: `
  let at = rows[i / p.values] * p.values + i % p.values;
  y[i] = f32((bytes[at / 4u] >> (8u * (at % 4u))) & 0xffu);`,
        }),
      );
    });
    device.release(rows);
    return info;
  },

  /** `factor` where a bit is 1, else 0. */
  BangDropout: (call) => {
    const { bits, factor, shape } = call.attrs as unknown as {
      bits: Uint32Array;
      factor: number;
      shape: number[];
    };
    const { device } = backendOf(call);
    const words = device.upload(bits);
    const info = made(call, shape, (y) => {
      each(
        device,
        'dropout',
        y.length,
        { reads: { words }, writes: { y }, reals: { factor } },
        () => ({
          body: 'y[i] = select(0.0, p.factor, ((words[i / 32u] >> (i % 32u)) & 1u) == 1u);',
        }),
      );
    });
    device.release(words);
    return info;
  },

  /** The class of each of the logits [N,classes], of equal ones the first, or −1 if one is not finite. */
  BangClasses: (call) => {
    const { logits } = call.inputs;
    const own = backendOf(call);
    const [batch, count] = logits.shape;
    const { info, values: y } = own.output([batch]);
    const given = { reads: { x: own.values(logits) }, writes: { y }, integers: { classes: count } };
    each(own.device, 'classes', batch, given, () => ({
      body: `
  var best = 0u;
  var finite = true;
  for (var k = 0u; k < p.classes; k++) {
    let v = x[i * p.classes + k];
    // By its bits: WGSL may take it for granted that values are finite.
    finite = finite && (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
    if (v > x[i * p.classes + best]) { best = k; }
  }
  y[i] = select(-1.0, f32(best), finite);`,
    }));
    return info;
  },
};

function backendOf({ backend }: Call): WebgpuBackend {
  return backend as unknown as WebgpuBackend;
}

function made(call: Call, shape: number[], write: (y: DeviceArray) => void): tf.TensorInfo {
  const { info, values } = backendOf(call).output(shape);
  write(values);
  return info;
}
