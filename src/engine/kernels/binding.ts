/** An array that kernels read and write: a typed array, or one in the memory of a device. */
export interface Values {
  readonly length: number;
}

/** The kinds of layers in the program of `forward`, where each is its number in this list. */
export const LAYER_KINDS = ['conv', 'innerProduct', 'maxPool', 'avgPool'] as const;
export type LayerKind = (typeof LAYER_KINDS)[number];

/**
 * The kernels, which `native/kernels.def` documents. `native/border_*.cc` checks the arguments and throws
 * a TypeError for an invalid one. Outputs come last and are written in place.
 * `geometry` is [batch, inH, inW, inC, outH, outW, outC, kH, kW, strideH, strideW, padTop, padLeft].
 */
export interface Kernels<
  Floats extends Values = Float32Array,
  Ints extends Values = Int32Array,
  Bytes extends Values = Uint8Array,
> {
  conv2d(
    geometry: Int32Array,
    x: Floats,
    filter: Floats,
    bias: Floats | null,
    relu: boolean,
    y: Floats,
  ): void;
  /** `pool`: the geometry of the max pooling of the convolution's output. */
  conv2dMaxPool(
    geometry: Int32Array,
    pool: Int32Array,
    x: Floats,
    filter: Floats,
    bias: Floats,
    y: Floats,
    winner: Bytes,
  ): void;
  /** If `pool` and `winner` are null, kappa refers to the convolution's output instead of the pooled output. */
  conv2dInputGradient(
    geometry: Int32Array,
    pool: Int32Array | null,
    winner: Bytes | null,
    kappa: Floats,
    filter: Floats,
    dx: Floats,
  ): void;
  conv2dWeightGradient(
    geometry: Int32Array,
    x: Floats,
    pool: Int32Array | null,
    winner: Bytes | null,
    kappa: Floats,
    scale: Floats | null,
    dw: Floats,
    db: Floats,
  ): void;
  pooledNorms(pool: Int32Array, winner: Bytes, kappa: Floats, norm: Floats): void;
  matMul(
    m: number,
    n: number,
    k: number,
    a: Floats,
    transposeA: boolean,
    b: Floats,
    transposeB: boolean,
    scale: Floats | null,
    bias: Floats | null,
    relu: boolean,
    c: Floats,
  ): void;
  columnSums(rows: number, columns: number, x: Floats, scale: Floats | null, sums: Floats): void;
  maxPool(geometry: Int32Array, x: Floats, y: Floats): void;
  maxPoolGradient(geometry: Int32Array, x: Floats, dy: Floats, dx: Floats): void;
  avgPool(geometry: Int32Array, x: Floats, y: Floats): void;
  avgPoolGradient(geometry: Int32Array, dy: Floats, dx: Floats): void;
  relu(count: number, x: Floats, y: Floats): void;
  reluGradient(count: number, y: Floats, dy: Floats, dx: Floats): void;
  multiply(count: number, a: Floats, b: Floats, y: Floats): void;
  softmaxCrossEntropy(
    batch: number,
    classes: number,
    logits: Floats,
    labels: Ints,
    factor: number,
    loss: Floats,
    gradient: Floats,
    correct: Floats,
  ): void;
  rowNorms(batch: number, values: number, x: Floats, norm: Floats): void;
  eta(batch: number, norm: Floats, epsilonHat: Floats, eta: Floats): void;
  sgd(
    count: number,
    weight: Floats,
    velocity: Floats,
    gradient: Floats,
    rate: number,
    momentum: number,
    decay: number,
  ): void;
  normalize(
    batch: number,
    values: number,
    x: Floats,
    mean: Floats | null,
    factor: number,
    y: Floats,
  ): void;
  overLargest(batch: number, values: number, x: Floats, y: Floats): void;
  /** `rows`: for each output, the index of its source image. */
  perturb(
    images: number,
    batch: number,
    values: number,
    x: Floats,
    direction: Floats,
    rows: Ints,
    scale: Floats,
    y: Floats,
  ): void;
  /**
   * `program`: for each layer the number of its kind in `LAYER_KINDS`, 1 if ReLU follows (else 0), and its
   * geometry. The weights and biases of all layers follow as `parameters`.
   */
  forward(
    layers: number,
    program: Int32Array,
    x: Floats,
    mean: Floats | null,
    factor: number,
    logits: Floats,
    ...parameters: Floats[]
  ): void;
  /**
   * `counters` is [seed, purpose, image, firstCopy, sigma]. `thresholds` ends with 2³² − 1. The lowest
   * noise is −depth.
   */
  addNoise(
    copies: number,
    values: number,
    x: Floats,
    counters: Uint32Array,
    thresholds: Uint32Array,
    depth: number,
    y: Floats,
  ): void;
}

/** Memory for tensors, aligned to a cache line. */
export interface Memory {
  buffer: ArrayBufferLike;
  /** Where it begins in `buffer`, in bytes. */
  offset: number;
}

/** The kernels of `native/`, compiled for this processor or to WebAssembly. */
export interface Binding extends Kernels {
  setThreads(count: number): void;
  /** Multiply-adds per second of all threads together, on values in registers. */
  peak(seconds: number): number;
  scratchBytes(): number;
  /** The instruction set in use, and all that can be used here, best first. */
  level(): string;
  levels(): string[];
  setLevel(name: string): void;
  /**
   * Memory that kernels read and write in place.
   *
   * @throws Error if there is not enough
   */
  allocate(bytes: number): Memory;
  /** Gives memory back, which must not be used any more. */
  release(memory: Memory): void;
  /** Whether kernels read and write these values in place. Others are copied at each call. */
  inPlace(values: ArrayBufferView): boolean;
}

/** The kernels, or a clause that says why they cannot be used. */
export type LoadedBinding = { binding: Binding } | { problem: string };
