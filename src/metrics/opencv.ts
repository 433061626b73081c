import { createRequire } from 'node:module';

/** The part of OpenCV.js that PASS needs; the package's own types lack the Emscripten half. */
export interface OpenCv {
  Mat: new (rows?: number, columns?: number, type?: number) => Mat;
  Size: new (width: number, height: number) => Size;
  Scalar: new () => number[];
  findTransformECC(
    template: Mat,
    input: Mat,
    warp: Mat,
    motion: number,
    criteria: { type: number; maxCount: number; epsilon: number },
    inputMask: Mat,
    gaussianFilterSize: number,
  ): number;
  warpPerspective(
    source: Mat,
    destination: Mat,
    warp: Mat,
    size: Size,
    flags: number,
    border: number,
    borderValue: number[],
  ): void;
  GaussianBlur(
    source: Mat,
    destination: Mat,
    window: Size,
    sigmaX: number,
    sigmaY: number,
    border: number,
    algorithm: number,
  ): void;
  exceptionFromPtr(pointer: number): { code: number; msg: string };
  setLogLevel(level: number): number;
  stackSave(): number;
  stackRestore(pointer: number): void;
  /** All memory of the module; a new array whenever the memory has grown. */
  HEAPU8: Uint8Array;
  onRuntimeInitialized?: () => void;
  CV_8UC1: number;
  CV_32FC1: number;
  CV_64FC4: number;
  MOTION_HOMOGRAPHY: number;
  INTER_LINEAR: number;
  WARP_INVERSE_MAP: number;
  BORDER_CONSTANT: number;
  BORDER_REFLECT_101: number;
  TermCriteria_COUNT: number;
  TermCriteria_EPS: number;
}

/** A matrix in the memory of the module; the views die when that memory grows. */
export interface Mat {
  readonly data: Uint8Array;
  readonly data32F: Float32Array;
  readonly data64F: Float64Array;
  delete(): void;
}

interface Size {
  width: number;
  height: number;
}

/** An error that OpenCV raised; `code` is one of its own, such as -7 for "no convergence". */
export class OpenCvError extends Error {
  override name = 'OpenCvError';
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** OpenCV of this thread, and the way to call what may raise an error in it. */
export interface OpenCvRuntime {
  cv: OpenCv;
  /**
   * Calls `work`; if OpenCV raises an error in it, all memory of the module goes back to where it
   * was before, and the error comes out as an {@link OpenCvError}. `work` must neither create nor
   * delete objects of OpenCV. The contents of matrices go back too, to an unspecified earlier state.
   */
  attempt<T>(work: () => T): T;
  /** To be called after objects of OpenCV were created or deleted: {@link attempt} keeps them. */
  objectsChanged(): void;
}

let runtime: Promise<OpenCvRuntime> | undefined;

/** Loads OpenCV into this thread, once: some 0.2 s. */
export function loadOpenCv(): Promise<OpenCvRuntime> {
  runtime ??= new Promise((resolve) => {
    const events = ['uncaughtException', 'unhandledRejection'] as const;
    const before = events.map((event) => process.rawListeners(event));
    const cv = createRequire(import.meta.url)('@techstark/opencv-js') as OpenCv;
    // Emscripten would take over this process's handling of every error, its own or not.
    events.forEach((event, i) => {
      for (const listener of process.rawListeners(event)) {
        if (!before[i].includes(listener)) {
          process.removeListener(event, listener as (...args: unknown[]) => void);
        }
      }
    });
    // `cv` has a `then` that resolves to `cv` again: a promise must never resolve to it.
    cv.onRuntimeInitialized = () => {
      cv.setLogLevel(0);
      resolve(createRuntime(cv));
    };
  });
  return runtime;
}

/**
 * This build of OpenCV has no unwinding: an error leaves the calls between it and JavaScript as
 * they were, 3.5 kB of stack and 70 kB of heap each time for ECC. After 1500 of them the stack has
 * run into the static data, and OpenCV computes nonsense or never returns. A copy of its memory
 * (7 MB, 0.6 ms to put back) makes an error free of consequences instead.
 */
function createRuntime(cv: OpenCv): OpenCvRuntime {
  let snapshot: Uint8Array | undefined;
  return {
    cv,
    attempt(work) {
      snapshot ??= cv.HEAPU8.slice(0, usedBytes(cv.HEAPU8));
      const stack = cv.stackSave();
      try {
        return work();
      } catch (error) {
        // OpenCV throws the address of its exception; anything else is a fault of the program.
        if (typeof error !== 'number') throw error;
        const { code, msg } = cv.exceptionFromPtr(error);
        cv.stackRestore(stack);
        cv.HEAPU8.set(snapshot);
        throw new OpenCvError(code, msg);
      }
    },
    objectsChanged() {
      snapshot = undefined;
    },
  };
}

/** How much of the memory was ever written: the rest is still zero, as it came. */
function usedBytes(memory: Uint8Array): number {
  const words = new Int32Array(memory.buffer);
  let used = words.length;
  while (used > 0 && words[used - 1] === 0) used--;
  return used * 4;
}
