/** Where the kernels may be, the best first. */
export function kernelFiles(): string[];
