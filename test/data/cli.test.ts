import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import yargs from 'yargs';
import { COMMANDS, whenUsed } from '#bang/cli/commands.js';
import { ExperimentError } from '#bang/base/errors.js';
import { temporaryFolder } from './registry.js';

describe('bang data', () => {
  let folder: string;
  let remove: () => void;

  beforeEach(() => {
    ({ folder, remove } = temporaryFolder());
    vi.stubEnv('BANG_CACHE', folder);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    remove();
  });

  /** What a command line prints, and what it throws if it does. */
  async function bang(...args: string[]): Promise<{ output: string; error?: unknown }> {
    let output = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      output += String(text);
      return true;
    });
    const parser = yargs(args)
      .command(COMMANDS.map(whenUsed))
      .exitProcess(false)
      .fail((message: string | null, error: Error | undefined) => {
        throw error ?? new Error(message ?? '');
      });
    try {
      await parser.parseAsync();
      return { output };
    } catch (error) {
      return { output, error };
    } finally {
      vi.restoreAllMocks();
    }
  }

  const damage = (): void => {
    mkdirSync(path.join(folder, 'data', 'mnist'), { recursive: true });
    writeFileSync(path.join(folder, 'data', 'mnist', 'train-images-idx3-ubyte'), 'short');
  };

  it('lists name, state, size and path', async () => {
    const row = (state: string): RegExp =>
      new RegExp(`mnist .* ${state} .* 55.0 MB .* ${path.join(folder, 'data', 'mnist')} `);
    expect((await bang('data', 'list')).output).toMatch(row('not cached'));
    damage();
    const { output } = await bang('data', 'list');
    expect(output).toMatch(row('damaged'));
    expect(output).toMatch(/cifar10 .* not cached .* 184.4 MB /);
  });

  it('verifies, and fails with what to do if data are damaged', async () => {
    damage();
    for (const name of [[], ['mnist']]) {
      const { output, error } = await bang('data', 'verify', ...name);
      expect(output).toContain('train-images-idx3-ubyte has 5 bytes instead of 47040016');
      expect(error).toEqual(new ExperimentError('mnist must be fetched: bang data pull mnist'));
    }
  });

  it('says of which data sets something must be done', async () => {
    damage();
    mkdirSync(path.join(folder, 'data', 'cifar10'));
    expect((await bang('data', 'verify')).error).toEqual(
      new ExperimentError(
        'mnist, cifar10 must be fetched: bang data pull mnist && bang data pull cifar10',
      ),
    );
  });

  it('verifies an empty cache, unless a data set is named', async () => {
    expect((await bang('data', 'verify')).error).toBeUndefined();
    for (const name of ['mnist', 'MNIST']) {
      const { error } = await bang('data', 'verify', name);
      expect(error).toEqual(new ExperimentError('mnist must be fetched: bang data pull mnist'));
    }
  });

  it('does not know other actions or data sets', async () => {
    expect((await bang('data')).error).toBeDefined();
    expect((await bang('data', 'pull', 'imagenet')).error).toBeDefined();
  });
});
