import { createRequire } from 'node:module';

/** The part of OpenCV.js that PASS needs; the package's own types lack Emscripten's functions. */
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
  /** The module's memory; a new array whenever it has grown. */
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

/** A matrix in the module's memory; its views become invalid when that memory grows. */
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

/** An error raised by OpenCV, with its error code, such as -7 for "no convergence". */
export class OpenCvError extends Error {
  override name = 'OpenCvError';
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** This thread's instance of OpenCV, and a safe way to call functions that may raise an error. */
export interface OpenCvRuntime {
  cv: OpenCv;
  /**
   * Calls `work`. If OpenCV raises an error, the module's memory is restored, including the contents of
   * matrices, to an unspecified earlier state. `work` must neither create nor delete OpenCV objects.
   *
   * @throws OpenCvError if OpenCV raises an error
   */
  attempt<T>(work: () => T): T;
  /** Must be called after OpenCV objects were created or deleted, so that {@link attempt} preserves them. */
  objectsChanged(): void;
}

let runtime: Promise<OpenCvRuntime> | undefined;

/** Loads OpenCV into this thread, once; takes about 0.2 s. */
export function loadOpenCv(): Promise<OpenCvRuntime> {
  runtime ??= new Promise((resolve) => {
    const events = ['uncaughtException', 'unhandledRejection'] as const;
    const before = events.map((event) => process.rawListeners(event));
    const cv = createRequire(import.meta.url)('@techstark/opencv-js') as OpenCv;
    // Remove the handlers that Emscripten installs for all errors of the process.
    events.forEach((event, i) => {
      for (const listener of process.rawListeners(event)) {
        if (!before[i].includes(listener)) {
          process.removeListener(event, listener as (...args: unknown[]) => void);
        }
      }
    });
    // `cv` has a `then` that resolves to `cv` again, so a promise must never resolve to `cv`.
    cv.onRuntimeInitialized = () => {
      cv.setLogLevel(0);
      resolve(createRuntime(cv));
    };
  });
  return runtime;
}

/**
 * This build of OpenCV does not unwind the stack: each error in ECC leaks 3.5 kB of stack and 70 kB of
 * heap. After about 1500 errors the stack overwrites static data, and OpenCV computes nonsense or never
 * returns. Therefore a copy of its memory (7 MB, 0.6 ms to restore) is restored after each error.
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
        // OpenCV throws the address of its exception; anything else is a bug.
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

const PAGE = 65_536;
const ZEROS = new Uint8Array(PAGE);

/** The length of the memory, in whole pages of WebAssembly, without those at its end that have only zeros. */
function usedBytes(memory: Uint8Array): number {
  let used = memory.length;
  while (used > 0 && Buffer.compare(memory.subarray(used - PAGE, used), ZEROS) === 0) used -= PAGE;
  return used;
}
