import type { Device } from '../device.js';
import type { DeviceKernels } from '../kernels.js';
import { each } from './launch.js';

/** Kernels that compute each value by itself. */
export function valueKernels(
  device: Device,
): Pick<
  DeviceKernels,
  'relu' | 'reluGradient' | 'multiply' | 'sgd' | 'normalize' | 'perturb' | 'addNoise'
> {
  return {
    relu(count, x, y) {
      each(device, 'relu', count, { reads: { x }, writes: { y } }, () => ({
        body: 'y[i] = select(x[i], 0.0, x[i] <= 0.0);',
      }));
    },

    reluGradient(count, y, dy, dx) {
      each(device, 'reluGradient', count, { reads: { y, dy }, writes: { dx } }, () => ({
        body: 'dx[i] = select(0.0, dy[i], y[i] > 0.0);',
      }));
    },

    multiply(count, a, b, y) {
      each(device, 'multiply', count, { reads: { a, b }, writes: { y } }, () => ({
        body: 'y[i] = a[i] * b[i];',
      }));
    },

    sgd(count, weight, velocity, gradient, rate, momentum, decay) {
      const given = {
        reads: { gradient },
        writes: { weight, velocity },
        reals: { rate, momentum, decay },
      };
      each(device, 'sgd', count, given, () => ({
        body: `
  let v = p.momentum * velocity[i] + p.rate * (gradient[i] + p.decay * weight[i]);
  velocity[i] = v;
  weight[i] -= v;`,
      }));
    },

    normalize(batch, values, x, mean, factor, y) {
      const given = { reads: { x, mean }, writes: { y }, integers: { values }, reals: { factor } };
      each(device, 'normalize', batch * values, given, () => ({
        body: `y[i] = ${mean ? '(x[i] - mean[i % p.values])' : 'x[i]'} * p.factor;`,
      }));
    },

    perturb(_images, batch, values, x, direction, rows, scale, y) {
      const given = { reads: { x, direction, rows, scale }, writes: { y }, integers: { values } };
      each(device, 'perturb', batch * values, given, () => ({
        body: `
  let n = i / p.values;
  let source = u32(rows[n]) * p.values + i % p.values;
  // Rounds half to even.
  y[i] = round(clamp(fma(scale[n], direction[source], x[source]), 0.0, 255.0));`,
      }));
    },

    addNoise(copies, values, x, counters, thresholds, depth, y) {
      const [seed, purpose, image, first, sigma] = counters;
      const steps = device.upload(thresholds);
      const given = {
        reads: { x, steps },
        writes: { y },
        integers: {
          values,
          stepCount: thresholds.length,
          depth,
          seed,
          purpose,
          image,
          first,
          sigma,
        },
      };
      each(device, 'addNoise', copies * values, given, () => ({
        declarations: PHILOX,
        body: `
  let at = i % p.values;
  let words = philox(vec4u(at / 4u, p.first + i / p.values, p.image, p.sigma), vec2u(p.seed, p.purpose));
  let word = words[at % 4u];
  var low = 0u;
  var high = p.stepCount;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (steps[middle] < word) { low = middle + 1u; } else { high = middle; }
  }
  y[i] = clamp(x[at] + f32(i32(low) - i32(p.depth)), 0.0, 255.0);`,
      }));
      device.release(steps);
    },
  };
}

/** Philox4x32-10, as in `engine/noise.ts`. */
const PHILOX = `
// The high and the low word of a product.
fn wide(a: u32, b: u32) -> vec2u {
  let a0 = a & 0xffffu; let a1 = a >> 16u;
  let b0 = b & 0xffffu; let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let other = a0 * b1 + (middle & 0xffffu);
  return vec2u(a1 * b1 + (middle >> 16u) + (other >> 16u), a * b);
}
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let x = wide(c.x, 0xd2511f53u);
    let y = wide(c.z, 0xcd9e8d57u);
    c = vec4u(y.x ^ c.y ^ k.x, y.y, x.x ^ c.w ^ k.y, x.y);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`;
