/**
 * A mistake that the person at the keyboard can mend: a misspelt key, a missing file, a truncated
 * download. Its message is one sentence that names the place and says what to do; the command line
 * prints it without a stack trace and exits with 2.
 */
export class UserError extends Error {
  override name = 'UserError';
}

/** An experiment that ran and failed, such as a loss that became NaN. Exit code 1. */
export class ExperimentError extends Error {
  override name = 'ExperimentError';
}

/** Work that was stopped on request (Ctrl-C, SIGTERM) after saving what it had. Exit code 130. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a system error (`ENOENT`, `EACCES`, …), or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
