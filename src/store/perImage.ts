import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'csv-parse/sync';
import { messageOf, UserError } from '../base/errors.js';
import { reason } from '../base/files.js';
import { FILES } from './resultFolder.js';

/** A line of `per-image.csv`, its columns by name. */
export type ImageLine = Partial<Record<string, string>>;

/**
 * The lines of a result folder's `per-image.csv`; undefined if it has none.
 *
 * @throws UserError if it cannot be read
 */
export function readPerImage(folder: string): ImageLine[] | undefined {
  const file = path.join(folder, FILES.perImage);
  if (!existsSync(file)) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
  }
  try {
    return parse(text, { columns: true });
  } catch (error) {
    throw new UserError(`${file} is damaged: ${messageOf(error)}`);
  }
}
