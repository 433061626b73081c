import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import type { Config } from '#bang/config/experiment.js';
import { ConfigError, loadConfig } from '#bang/config/yamlFiles.js';

export const valid = `model: lenet
data: mnist
training:
  iterations: 10000
  batch: 64
  learningRate: {policy: inv, base: 0.01, gamma: 0.0001, power: 0.75}
  momentum: 0.9
  weightDecay: 0.0005
  bang:
    beta: 1.0
    epsilon: 0.815
`;

/** A temporary folder of configurations, and functions that load them. */
export interface ConfigFiles {
  folder: string;
  write: (name: string, content: string | Uint8Array) => string;
  /** The lines of the error that loading a file throws, without the folder in paths. */
  complaints: (file: string, overrides?: string[]) => Promise<string[]>;
  load: (text: string, overrides?: string[]) => Promise<Config>;
  remove: () => void;
}

export function configFiles(): ConfigFiles {
  const folder = mkdtempSync(path.join(tmpdir(), 'bang-config-'));
  const write = (name: string, content: string | Uint8Array): string => {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  };
  return {
    folder,
    write,
    async complaints(file, overrides = []) {
      const error: unknown = await loadConfig(file, overrides).catch((thrown: unknown) => thrown);
      if (!(error instanceof UserError)) throw new Error('expected a UserError', { cause: error });
      const lines = error instanceof ConfigError ? error.lines : [error.message];
      for (const line of lines) expect(error.message).toContain(line);
      return lines.map((line) => line.replaceAll(`${folder}${path.sep}`, ''));
    },
    async load(text, overrides = []) {
      return (await loadConfig(write('x.yaml', text), overrides)).config;
    },
    remove() {
      rmSync(folder, { recursive: true });
    },
  };
}
