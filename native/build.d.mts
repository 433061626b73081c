/** The kernels as WebAssembly, and the stamp that they must have. */
export const wasmFile: string;
export function wasmStamp(): string;
/** The existing files of kernels for this system, in order of preference. */
export function kernelFiles(): string[];
/** The C++ compiler of this machine, as a command. @throws Error if there is none */
export function findCompiler(): Promise<[string, ...string[]]>;
