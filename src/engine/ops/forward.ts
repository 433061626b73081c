import { tf } from '../../base/tf.js';
import { LAYER_KINDS, type LayerKind } from '../kernels/binding.js';
import { fused } from './kernel.js';

/** One operation of a forward pass. */
export type ForwardOperation =
  | { kind: 'relu' }
  | {
      kind: LayerKind;
      /** Height, width and channels; the output of an inner product is 1×1. */
      input: readonly [number, number, number];
      output: readonly [number, number, number];
      size: number;
      stride: number;
      /** Padding: rows above and columns to the left of the image. */
      pad: readonly [number, number];
      /** [h,w,I,O] and [O] of a convolution, [I,O] and [O] of an inner product. */
      parameters?: { weight: tf.Tensor; bias: tf.Tensor1D };
    };

/**
 * A whole forward pass in one kernel, which stores nothing for a backward pass. The logits [N,classes] are
 * bit-identical to those computed layer by layer. Undefined on engines without this kernel, and for
 * operations that it does not support.
 *
 * @param x pixels [N,H,W,C]; the kernel applies `normalize` to them with this mean and factor
 */
export function forwardPass(
  x: tf.Tensor4D,
  mean: tf.Tensor | undefined,
  factor: number,
  operations: readonly ForwardOperation[],
): tf.Tensor2D | undefined {
  const program: number[][] = [];
  const parameters: Record<string, tf.Tensor> = {};
  for (const operation of operations) {
    if (operation.kind === 'relu') {
      const before = program.at(-1);
      if (!before) return undefined;
      before[1] = 1;
      continue;
    }
    const { size, stride, pad } = operation;
    const geometry = [
      x.shape[0],
      ...operation.input,
      ...operation.output,
      size,
      size,
      stride,
      stride,
      ...pad,
    ];
    if (operation.parameters) {
      parameters[`weight${program.length}`] = operation.parameters.weight;
      parameters[`bias${program.length}`] = operation.parameters.bias;
    }
    program.push([LAYER_KINDS.indexOf(operation.kind), 0, ...geometry]);
  }
  const most = Math.max(
    ...program.flatMap((row) => [row[3] * row[4] * row[5], row[6] * row[7] * row[8]]),
  );
  if (
    program.length > 64 ||
    most > 2 ** 22 ||
    program.at(-1)?.[0] !== 1 ||
    operations.at(-1)?.kind === 'relu'
  )
    return undefined;
  const attributes = { program, factor };
  return fused('BangForward', { x, mean, ...parameters }, attributes)?.[0] as
    tf.Tensor2D | undefined;
}
