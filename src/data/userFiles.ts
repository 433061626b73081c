import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { reason } from '../base/files.js';
import { didYouMean } from '../base/nearFile.js';

/**
 * The names of the files in the user's data folder.
 *
 * @throws UserError if it cannot be read
 */
export async function namesIn(folder: string): Promise<Set<string>> {
  const names = await readdir(folder).catch((error: unknown) => {
    const near = didYouMean(folder, error, 'folder');
    throw new UserError(`cannot read the data folder ${folder}: ${reason(error)}${near}`);
  });
  return new Set(names);
}

/**
 * Where a data set's files are, and the names of what is there: in the user's folder, or in the folder `archive` in it,
 * as unpacking leaves it, unless the files are `found` beside that.
 *
 * @throws UserError if a folder cannot be read
 */
export async function placeWith(
  folder: string,
  archive: string,
  found: (present: ReadonlySet<string>) => boolean,
): Promise<{ place: string; present: Set<string> }> {
  const present = await namesIn(folder);
  if (found(present) || !present.has(archive)) return { place: folder, present };
  const place = path.join(folder, archive);
  return { place, present: await namesIn(place) };
}

/**
 * The length in bytes of a user's file, to be checked before it is read.
 *
 * @param original what should be there, such as `an IDX file`
 * @throws UserError if it is not a file or cannot be accessed
 */
export async function lengthOf(file: string, original: string): Promise<number> {
  const status = await stat(file).catch((error: unknown) => {
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
  });
  if (!status.isFile()) throw new UserError(`${file} is not a file: put ${original} there`);
  return status.size;
}

/** Whether a path leads to a folder. */
export async function isFolder(place: string): Promise<boolean> {
  return stat(place).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

/** Whether a path leads to a file that is not empty. */
export async function isFilled(file: string): Promise<boolean> {
  return stat(file).then(
    (status) => status.isFile() && status.size > 0,
    () => false,
  );
}
