import { tf } from '../../base/tf.js';
import {
  convGeometry,
  floatsOrNull,
  poolingOf,
  outputShape,
  poolGeometry,
  type Attributes,
  type Inputs,
  type Kernel,
} from './arguments.js';

/** Kernels that tfjs does not have. On engines without them, `engine/ops/` composes tfjs operations. */
export const ADDITIONS: Record<string, Kernel> = {
  /** tfjs's AvgPoolGrad divides by the size of the whole window, not of the clipped one. */
  BangAvgPoolGradient: ({ inputs, attrs, backend }) => {
    const { dy, x } = inputs;
    const { info, values } = backend.output(x.shape);
    backend.binding.avgPoolGradient(poolGeometry(x.shape, attrs)!, backend.floats(dy), values);
    return info;
  },

  /**
   * `pooling`: attributes of the max pooling. Outputs the pooled values and, as bytes (tfjs's type bool),
   * the position of the first maximum in each window.
   */
  BangConvMaxPool: ({ inputs, attrs, backend }) => {
    const { x, filter, bias } = inputs;
    const geometry = convGeometry(x.shape, filter.shape, attrs)!;
    const pool = poolingOf(geometry, attrs);
    const y = backend.output(outputShape(pool));
    const winner = backend.outputBytes(outputShape(pool));
    backend.binding.conv2dMaxPool(
      geometry,
      pool,
      backend.floats(x),
      backend.floats(filter),
      backend.floats(bias),
      y.values,
      winner.values,
    );
    return [y.info, winner.info];
  },

  BangConvMaxPoolInputGradient: ({ inputs, attrs, backend }) => {
    const { kappa, winner, filter } = inputs;
    const { inputShape } = attrs as { inputShape: number[] };
    const geometry = convGeometry(inputShape, filter.shape, attrs)!;
    const { info, values } = backend.output(inputShape);
    backend.binding.conv2dInputGradient(
      geometry,
      poolingOf(geometry, attrs),
      backend.values(winner),
      backend.floats(kappa),
      backend.floats(filter),
      values,
    );
    return info;
  },

  /** Writes to weight and bias. With `winner`, kappa is the gradient with respect to the pooled output. */
  BangConvWeightGradient: ({ inputs, attrs, backend }) => {
    const { x, kappa, weight, bias } = inputs;
    const { scale, winner } = inputs as Partial<Inputs>;
    const geometry = convGeometry(x.shape, weight.shape, attrs)!;
    backend.binding.conv2dWeightGradient(
      geometry,
      backend.floats(x),
      winner ? poolingOf(geometry, attrs) : null,
      winner ? backend.values(winner) : null,
      backend.floats(kappa),
      floatsOrNull(backend, scale),
      backend.floats(weight),
      backend.floats(bias),
    );
    return [];
  },

  /** Norms of the gradient with respect to the convolution's output, of this `shape`; kappa is that of the pooled output. */
  BangPooledNorms: ({ inputs, attrs, backend }) => {
    const { kappa, winner } = inputs;
    const { shape, pooling } = attrs as unknown as { shape: number[]; pooling: Attributes };
    const { info, values } = backend.output([shape[0]]);
    backend.binding.pooledNorms(
      poolGeometry(shape, pooling)!,
      backend.values(winner),
      backend.floats(kappa),
      values,
    );
    return info;
  },

  /** Writes to weight and bias. */
  BangDenseWeightGradient: ({ inputs, backend }) => {
    const { x, kappa, weight, bias } = inputs;
    const { scale } = inputs as Partial<Inputs>;
    const [batch, rows] = x.shape as [number, number];
    const columns = kappa.shape[1];
    const factors = floatsOrNull(backend, scale);
    const { binding } = backend;
    binding.matMul(
      rows,
      columns,
      batch,
      backend.floats(x),
      true,
      backend.floats(kappa),
      false,
      factors,
      null,
      false,
      backend.floats(weight),
    );
    binding.columnSums(batch, columns, backend.floats(kappa), factors, backend.floats(bias));
    return [];
  },

  BangReluGradient: ({ inputs, backend }) => {
    const { y, dy } = inputs;
    const { info, values } = backend.output(y.shape);
    backend.binding.reluGradient(values.length, backend.floats(y), backend.floats(dy), values);
    return info;
  },

  BangSoftmaxCrossEntropy: ({ inputs, attrs, backend }) => {
    const { logits, labels } = inputs;
    const [batch, classes] = logits.shape as [number, number];
    const loss = backend.output([batch]);
    const gradient = backend.output([batch, classes]);
    const correct = backend.output([batch]);
    backend.binding.softmaxCrossEntropy(
      batch,
      classes,
      backend.floats(logits),
      backend.values(labels),
      attrs.factor as number,
      loss.values,
      gradient.values,
      correct.values,
    );
    return [loss.info, gradient.info, correct.info];
  },

  BangRowNorms: ({ inputs, backend }) => {
    const { x } = inputs;
    const batch = x.shape[0];
    const { info, values } = backend.output([batch]);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.rowNorms(batch, size, backend.floats(x), values);
    return info;
  },

  BangEta: ({ inputs, backend }) => {
    const { norm, epsilonHat } = inputs;
    const { info, values } = backend.output(norm.shape);
    backend.binding.eta(norm.shape[0], backend.floats(norm), backend.floats(epsilonHat), values);
    return info;
  },

  /** Changes weight and velocity in place. */
  BangSgd: ({ inputs, attrs, backend }) => {
    const { weight, velocity, gradient } = inputs;
    const { rate, momentum, decay } = attrs as { rate: number; momentum: number; decay: number };
    const values = backend.floats(weight);
    backend.binding.sgd(
      values.length,
      values,
      backend.floats(velocity),
      backend.floats(gradient),
      rate,
      momentum,
      decay,
    );
    return [];
  },

  BangNormalize: ({ inputs, attrs, backend }) => {
    const { x } = inputs;
    const { mean } = inputs as Partial<Inputs>;
    const { info, values } = backend.output(x.shape);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.normalize(
      x.shape[0],
      size,
      backend.floats(x),
      floatsOrNull(backend, mean),
      attrs.factor as number,
      values,
    );
    return info;
  },

  /** `program`: for each layer its kind, 1 if ReLU follows (else 0), and its geometry. */
  BangForward: ({ inputs, attrs, backend }) => {
    const { x } = inputs;
    const { mean } = inputs as Partial<Inputs>;
    const { program, factor } = attrs as { program: number[][]; factor: number };
    const classes = program[program.length - 1][8];
    const { info, values } = backend.output([x.shape[0], classes]);
    const parameters = program.flatMap((_, i) =>
      [inputs[`weight${i}`], inputs[`bias${i}`]].filter(Boolean),
    );
    backend.binding.forward(
      program.length,
      Int32Array.from(program.flat()),
      backend.floats(x),
      floatsOrNull(backend, mean),
      factor,
      values,
      ...parameters.map((tensor) => backend.floats(tensor)),
    );
    return info;
  },

  BangOverLargest: ({ inputs, backend }) => {
    const { x } = inputs;
    const { info, values } = backend.output(x.shape);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.overLargest(x.shape[0], size, backend.floats(x), values);
    return info;
  },

  BangPerturb: ({ inputs, backend }) => {
    const { x, direction, rows, scale } = inputs;
    const count = rows.shape[0];
    const { info, values } = backend.output([count, ...x.shape.slice(1)]);
    backend.binding.perturb(
      x.shape[0],
      count,
      tf.util.sizeFromShape(x.shape.slice(1)),
      backend.floats(x),
      backend.floats(direction),
      backend.values(rows),
      backend.floats(scale),
      values,
    );
    return info;
  },

  BangNoise: ({ inputs, attrs, backend }) => {
    const { x } = inputs;
    const { copies, counters, thresholds, depth } = attrs as {
      copies: number;
      counters: Uint32Array;
      thresholds: Uint32Array;
      depth: number;
    };
    const { info, values } = backend.output([copies, ...x.shape]);
    const size = tf.util.sizeFromShape(x.shape);
    backend.binding.addNoise(copies, size, backend.floats(x), counters, thresholds, depth, values);
    return info;
  },
};
