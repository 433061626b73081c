import { sha256Of } from '../base/digest.js';
import { readRegularFile, writeFileAtomic } from '../base/files.js';
import path from 'node:path';
import type { Identity } from './identity.js';

/** Parts of a result by name, as plain data. */
export interface Parts {
  read(name: string): unknown;
  write(name: string, value: unknown): void;
}

/** Parts of a result as JSON files, each with a hash of it and of what it depends on; those for which
 *  it does not hold are as if they were not there. */
export function partsIn(folder: string, key: Identity, check: () => void): Parts {
  const digestOf = (value: unknown): string => sha256Of(JSON.stringify([key, value]));
  const file = (name: string) => path.join(folder, `${name}.json`);
  return {
    read(name) {
      try {
        const text = readRegularFile(file(name)).toString('utf8');
        const { digest, value } = JSON.parse(text) as { digest: string; value: unknown };
        return digest === digestOf(value) ? value : undefined;
      } catch {
        return undefined;
      }
    },
    write(name, value) {
      check();
      writeFileAtomic(file(name), JSON.stringify({ digest: digestOf(value), value }));
    },
  };
}
