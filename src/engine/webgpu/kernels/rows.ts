import type { Device } from '../device.js';
import type { DeviceKernels } from '../kernels.js';
import { MATHEMATICS, reduction, ROW_SIZE } from '../wgsl/source.js';
import { each, eachRow } from './launch.js';

/** Kernels that go through the values of a row, or of a column, one row for each element of a batch. */
export function rowKernels(
  device: Device,
): Pick<DeviceKernels, 'softmaxCrossEntropy' | 'rowNorms' | 'eta' | 'overLargest' | 'columnSums'> {
  return {
    softmaxCrossEntropy(batch, classes, logits, labels, factor, loss, gradient, correct) {
      const given = {
        reads: { logits, labels },
        writes: { loss, gradient, correct },
        integers: { classes },
        reals: { factor },
      };
      each(device, 'softmaxCrossEntropy', batch, given, () => ({
        declarations: MATHEMATICS,
        body: `
  let first = i * p.classes;
  var best = 0u;
  for (var c = 1u; c < p.classes; c++) {
    if (logits[first + c] > logits[first + best]) { best = c; }
  }
  let top = logits[first + best];
  var sum = 0.0;
  // In class order, which decides the losses that are exactly zero.
  for (var c = 0u; c < p.classes; c++) { sum += exponential(logits[first + c] - top); }
  let label = u32(labels[i]);
  loss[i] = logarithm(sum) - (logits[first + label] - top);
  correct[i] = select(0.0, 1.0, best == label);
  for (var c = 0u; c < p.classes; c++) {
    let q = exponential(logits[first + c] - top) / sum;
    gradient[first + c] = select(q, q - 1.0, c == label) * p.factor;
  }`,
      }));
    },

    rowNorms(batch, values, x, norm) {
      const given = { reads: { x }, writes: { norm }, integers: { values } };
      eachRow(device, 'rowNorms', batch, given, () => ({
        declarations: reduction('total', 'a + b'),
        body: `
  var squares = 0.0;
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) {
    let v = x[group * p.values + i];
    squares = fma(v, v, squares);
  }
  let sum = total(t, squares);
  if (t == 0u) { norm[group] = sqrt(sum); }`,
      }));
    },

    eta(batch, norm, epsilonHat, eta) {
      const given = { reads: { norm, epsilonHat }, writes: { eta }, integers: { values: batch } };
      eachRow(device, 'eta', Math.min(batch, 1), given, () => ({
        declarations: MATHEMATICS + reduction('largest', 'max(a, b)'),
        body: `
  var most = 0.0;
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) { most = select(most, norm[i], norm[i] > most); }
  let m = largest(t, most);
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) {
    let n = norm[i];
    eta[i] = 1.0;
    if (n > 0.0) { eta[i] = exponential(epsilonHat[i] * (1.0 - n / m) * logarithm(m / n)); }
  }`,
      }));
    },

    overLargest(batch, values, x, y) {
      const given = { reads: { x }, writes: { y }, integers: { values } };
      eachRow(device, 'overLargest', batch, given, () => ({
        declarations: reduction('largest', 'max(a, b)'),
        body: `
  let first = group * p.values;
  var most = 0.0;
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) { most = max(most, abs(x[first + i])); }
  let m = largest(t, most);
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) {
    y[first + i] = 0.0;
    if (m > 0.0) { y[first + i] = x[first + i] / m; }
  }`,
      }));
    },

    columnSums(rows, columns, x, scale, sums) {
      const given = { reads: { x, scale }, writes: { sums }, integers: { rows } };
      each(device, 'columnSums', columns, given, () => ({
        body: `
  var sum = 0.0;
  for (var r = 0u; r < p.rows; r++) {
    sum ${scale ? '= fma(x[r * p.count + i], scale[r], sum)' : '+= x[r * p.count + i]'};
  }
  sums[i] = sum;`,
      }));
    },
  };
}
