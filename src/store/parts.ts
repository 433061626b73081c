import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFileAtomic } from '../base/files.js';
import path from 'node:path';
import type { Identity } from './identity.js';

/** Parts of a result by name, as plain data. */
export interface Parts {
  read(name: string): unknown;
  write(name: string, value: unknown): void;
}

/**
 * Parts of a result as JSON files, each with a hash of its value and of the key that it depends on.
 * Files with another hash are ignored.
 */
export function partsIn(folder: string, key: Identity): Parts {
  const digestOf = (value: unknown): string =>
    createHash('sha256')
      .update(JSON.stringify([key, value]))
      .digest('hex');
  const file = (name: string) => path.join(folder, `${name}.json`);
  return {
    read(name) {
      try {
        const text = readFileSync(file(name), 'utf8');
        const { digest, value } = JSON.parse(text) as { digest: string; value: unknown };
        return digest === digestOf(value) ? value : undefined;
      } catch {
        return undefined;
      }
    },
    write(name, value) {
      writeFileAtomic(file(name), JSON.stringify({ digest: digestOf(value), value }));
    },
  };
}
