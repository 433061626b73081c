/**
 * A mistake that the user can correct: a misspelt key, a missing file, a truncated download. Its
 * message is one sentence that says where the problem is and what to do. The command line prints it
 * without a stack trace and exits with code 2.
 */
export class UserError extends Error {
  override name = 'UserError';
}

/** An experiment that ran and failed, such as a loss that became NaN. Exit code 1. */
export class ExperimentError extends Error {
  override name = 'ExperimentError';
}

/** Work stopped on request (Ctrl-C, SIGTERM) after its results so far were saved. Exit code 130. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

/** A defect of the program that was met and reported, and that did not stop the rest. Exit code 70. */
export class DefectFound extends Error {
  override name = 'DefectFound';
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a system error (`ENOENT`, `EACCES`, …), or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
