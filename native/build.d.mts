/** Where the kernels may be, the best first. */
export function kernelFiles(): string[];
/** The compiler of this machine, as a command. @throws Error if there is none */
export function findCompiler(): Promise<[string, ...string[]]>;
