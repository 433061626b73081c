/** After how many milliseconds a test, or a process in it, hangs. */
export const PATIENCE = 900_000;
