/** What the program and the thread that drives the device tell each other. */

/** The device that was found. */
export interface Adapter {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** Whether it computes on the CPU, as drivers for tests do. */
  software: boolean;
  /** The largest buffer, and the largest part of one that a kernel can be given, in bytes. */
  maxBuffer: number;
  maxBinding: number;
  /** What else it offers and allows, by WebGPU's names. */
  features: string[];
  limits: Record<string, number>;
}

export interface Start {
  /** The folder of the package `webgpu`. */
  package: string;
  /**
   * [the number of the last read that is done, 1 if the device has failed or the process ends, the length of the reason
   * in bytes, 1 while the thread works].
   */
  control: Int32Array;
  /** Receives the reason, in UTF-8. */
  reason: Uint8Array;
  /** Whether to time each dispatch, in a pass of its own, which is slower. */
  timed: boolean;
}

/** The time that the device spent on a kernel. */
export interface KernelTime {
  /** Its number. */
  program: number;
  dispatches: number;
  nanoseconds: number;
}

/** What the thread answers when it has started. */
export type Started = { adapter: Adapter } | { problem: string };

/** A kernel: its WGSL, and for each array that it is given whether it is only read. */
export interface Program {
  code: string;
  reads: boolean[];
}

/** Commands, in the order in which they are to be carried out. */
export interface Work {
  /** Whether it has anything that the device could refuse: kernels, memory, groups of arrays. */
  isNew: boolean;
  /** New kernels, numbered on from those before. */
  programs: Program[];
  /** `COMMANDS` with their arguments, which are whole numbers; bytes are more than 32 bits can count. */
  commands: Float64Array;
  /** The parameters of the dispatches. */
  parameters: Uint8Array;
  /** What is written to buffers. */
  payloads: ArrayBuffer[];
  /** Where reads put what they find. */
  targets: SharedArrayBuffer[];
}

export const COMMANDS = {
  /** buffer, bytes */
  allocate: 0,
  /** buffer */
  free: 1,
  /** group, program, number of arrays, and for each: buffer, first byte, bytes */
  group: 2,
  /** group */
  forget: 3,
  /** group, first byte of its parameters, x, y, z */
  dispatch: 4,
  /** buffer, first byte, index of the payload */
  write: 5,
  /** index of the target, bytes in all, number of the read, number of arrays, and for each: buffer, first byte, bytes */
  read: 6,
} as const;

/** Bytes from the parameters of one dispatch to those of the next, and how many dispatches fit into one `Work`. */
export const PARAMETER_STRIDE = 256;
export const MOST_DISPATCHES = 256;
