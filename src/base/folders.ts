import { accessSync, constants, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { codeOf, UserError } from './errors.js';
import { isFolder, makeFolder, partOf, reason } from './files.js';
import path from 'node:path';

/**
 * Removes a file or folder if it exists.
 *
 * @throws UserError if it cannot be removed
 */
export function remove(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch (error) {
    throw new UserError(`cannot remove ${file}: ${reason(error)}`);
  }
}

/**
 * Creates a folder if necessary and checks that it is writable.
 *
 * @throws UserError if it cannot be created or written to
 */
export function makeWritable(folder: string): void {
  try {
    makeFolder(folder);
    accessSync(folder, constants.W_OK);
  } catch (error) {
    const why = codeOf(error) === 'EEXIST' ? 'a file has that name' : reason(error);
    throw new UserError(`cannot write to the folder ${folder}: ${why}`);
  }
}

/**
 * Works in a folder for temporary files, which is removed when that ends, and also if the process exits before.
 *
 * @throws UserError if it cannot be created
 */
export async function inTemporaryFolder<T>(
  prefix: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = temporaryFolder(prefix);
  const removeIt = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', removeIt);
  try {
    return await work(folder);
  } finally {
    process.off('exit', removeIt);
    removeIt();
  }
}

function temporaryFolder(prefix: string): string {
  const parent = path.resolve(tmpdir());
  try {
    return mkdtempSync(path.join(parent, prefix));
  } catch (error) {
    throw new UserError(
      `cannot make a temporary folder in ${parent}: ${reason(error)}; set TMPDIR to a folder that can be written`,
    );
  }
}

/**
 * Removes parts of files of these names, or in folders of these names, that a process left when it was killed.
 * Only who holds the folder's lock may call this.
 */
export function removeLeftovers(folder: string, names: readonly string[]): void {
  const isOurs = (name: string): boolean => names.includes(name.split(path.sep)[0]);
  const folders = names.filter((name) => isFolder(path.join(folder, name)));
  const inside = folders.flatMap((name) =>
    readdirSync(path.join(folder, name)).map((entry) => path.join(name, entry)),
  );
  for (const entry of [...readdirSync(folder), ...inside]) {
    const part = partOf(entry);
    if (part && isOurs(part.of)) remove(path.join(folder, entry));
  }
}
