import type * as tf from '@tensorflow/tfjs-core';
import {
  conv2dMaxPool,
  conv2dMaxPoolInputGradient,
  conv2dMaxPoolWeightGradient,
  isPoolable,
  type Pooled,
  pooledNorms,
} from '../engine/ops/pooledConvolution.js';
import {
  type Activations,
  clipping,
  filterOf,
  isWeighted,
  type Layer,
  type LayerSpec,
  pool,
  sidesOf,
  slidingOf,
  type WeightedLayer,
} from './layers.js';

/**
 * A convolution and the max pooling after it as one layer, which need not store the convolution's output;
 * undefined for other pairs of layers. `backward` and `gradient` take kappa of the pooled output; `norms`
 * are those of the gradient with respect to the convolution's output, as in equation 3 of the paper.
 */
export function pooledConv(first: Layer, second: LayerSpec | undefined): WeightedLayer | undefined {
  if (!isWeighted(first) || first.spec.kind !== 'conv') return undefined;
  if (second?.kind !== 'maxPool' || !isPoolable(second)) return undefined;
  if (sidesOf(second.pad).some((side) => side > 0)) return undefined;
  const map = first.output as [number, number, number];
  const poolLayer = pool(second, map);
  const pooling = { size: second.size, sliding: clipping(second, map).sliding };
  const sliding = slidingOf(first.spec);
  const pooled = ({ y, saved }: Activations): Pooled => ({ y, saved }) as Pooled;
  return {
    ...first,
    output: poolLayer.output,
    forward: (x, parameters) => ({
      x,
      ...conv2dMaxPool(x as tf.Tensor4D, filterOf(parameters), parameters!.bias, sliding, pooling),
    }),
    norms: (kappa, activations) =>
      pooledNorms([kappa.shape[0], ...map], pooled(activations), kappa as tf.Tensor4D, pooling),
    backward: (kappa, activations, parameters) =>
      conv2dMaxPoolInputGradient(
        activations.x.shape,
        pooled(activations),
        kappa as tf.Tensor4D,
        filterOf(parameters),
        sliding,
        pooling,
      ),
    gradient: (kappa, activations, into, scale) => {
      conv2dMaxPoolWeightGradient(
        activations.x as tf.Tensor4D,
        pooled(activations),
        kappa as tf.Tensor4D,
        sliding,
        pooling,
        into,
        scale,
      );
    },
    operations: (parameters) => [...first.operations(parameters)!, ...poolLayer.operations()!],
  };
}
