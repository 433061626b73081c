/** Values in row-major order; as many as the shape says. */
export interface NamedArray {
  shape: number[];
  data: Float32Array;
}

/** The parameters of a network as a file holds them. */
export interface WeightFile {
  /** Convolutions O×I×h×w, inner products out×in over the C×H×W flattening. */
  layout: 'caffe';
  /** `<layer>.weight` and `<layer>.bias`, all finite. */
  tensors: Map<string, NamedArray>;
  /** What the writer had to say; empty for files of Caffe's own. */
  metadata: Partial<Record<string, string>>;
  format: 'safetensors' | 'caffe-hdf5';
}
