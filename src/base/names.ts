import { UserError } from './errors.js';
import { inWords, quoted } from './text.js';

/**
 * For the callers of the library, whose programs the compiler may not have checked.
 *
 * @throws UserError if a name is not one of those that there are
 */
export function refuseOther(what: string, names: readonly string[], given: unknown): void {
  if (names.includes(given as string)) return;
  throw new UserError(`${what}: expected ${inWords(names)}, found ${quoted(String(given))}`);
}
