import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What `bang setup` notes of an engine in the engine's folder. */
export const RECORD = 'setup.json';

/** What a record says of every engine. */
export interface Installation {
  /** Of what was installed. */
  version: string;
  /** Largest difference from the CPU kernels found during setup, relative to the largest value. */
  difference: number;
  /** Time of the setup, in ISO 8601. */
  made: string;
}

/** An installation, or a clause that says why it cannot be used. */
export type Installed<I extends Installation> = { installation: I } | { problem: string };

/**
 * The record in `folder`.
 *
 * @param what has the version
 * @param version the one that this program uses
 */
export function readRecord<I extends Installation>(
  folder: string,
  what: string,
  version: string,
): Installed<I> {
  const record = path.join(folder, RECORD);
  if (!existsSync(record)) return { problem: 'it is not set up' };
  let found: Partial<I>;
  try {
    found = JSON.parse(readFileSync(record, 'utf8')) as Partial<I>;
  } catch {
    return { problem: `${record} is damaged` };
  }
  if (found.version !== version) {
    return { problem: `${what} ${found.version ?? '(unknown)'} is set up, not ${version}` };
  }
  return { installation: found as I };
}
