/** The existing files of kernels for this system, in order of preference. */
export function kernelFiles(): string[];
/** The C++ compiler of this machine, as a command. @throws Error if there is none */
export function findCompiler(): Promise<[string, ...string[]]>;
