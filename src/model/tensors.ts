import type { NetworkSpec } from './networks.js';

/** The name of the mean image in a file, C×H×W. */
export const MEAN = 'mean';

/** Values in row-major order. */
export interface NamedArray {
  shape: number[];
  data: Float32Array;
}

/** The content of a weight file. */
export interface WeightFile {
  /**
   * `<layer>.weight` and `<layer>.bias`, all finite: convolutions O×I×h×w, inner products out×in over the C×H×W
   * flattening.
   */
  tensors: Map<string, NamedArray>;
  /** Metadata of the writer; empty for files written by Caffe. */
  metadata: Partial<Record<string, string>>;
  format: 'safetensors' | 'caffe-hdf5' | 'onnx';
  /** The network that the weights belong to, if the file has it without a config. */
  network?: Omit<NetworkSpec, 'name'>;
  /** What the reader of the file should know, as sentences. */
  notes?: string[];
}
