import path from 'node:path';
import Config from '@npmcli/config';
import definitions from '@npmcli/config/lib/definitions/index.js';
import type { Options } from 'pacote';
import { cacheFolder } from './cacheFolder.js';
import { messageOf, UserError } from './errors.js';
import { makeWritable } from './folders.js';

/** Options of npm's libraries; those listed here are always present. */
type NpmOptions = Options & {
  cache: string;
  registry: string;
  retry: { retries: number; minTimeout: number; maxTimeout: number };
};

/**
 * The settings with which npm itself would fetch packages here: registry, proxies, certificates,
 * tokens, cache and offline mode. npm's own parser reads them from the environment and npmrc files.
 *
 * @throws UserError if npm would reject the settings
 */
export async function npmOptions(): Promise<NpmOptions> {
  const config = new Config({
    ...definitions,
    npmPath: npmFolder(),
    argv: [],
    // A copy: loading writes npm_config_* variables into it.
    env: { ...process.env },
  });
  try {
    await config.load();
    // Drops values of the wrong type, such as a word for the number of retries.
    config.validate();
  } catch (error) {
    throw new UserError(`npm's settings cannot be used: ${messageOf(error)}`);
  }
  const options = config.flat as NpmOptions;
  // In the home folder, which a container may not be able to write to.
  if (config.isDefault('cache') && !canWrite(options.cache)) {
    options.cache = path.join(cacheFolder(), 'npm');
  }
  const { retry } = options;
  // By default npm waits 10 s, then 60 s, before it retries: too long for an interactive command.
  if (config.isDefault('fetch-retry-mintimeout')) {
    retry.minTimeout = Math.min(1000, retry.maxTimeout);
  }
  if (config.isDefault('fetch-retry-maxtimeout')) {
    retry.maxTimeout = Math.max(5000, retry.minTimeout);
  }
  if (retry.minTimeout > retry.maxTimeout) {
    throw new UserError(
      "npm's settings cannot be used: fetch-retry-mintimeout is greater than fetch-retry-maxtimeout",
    );
  }
  return options;
}

function canWrite(folder: string): boolean {
  try {
    makeWritable(folder);
    return true;
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}

/** Where Node's installers put npm; distributors may put an npmrc there. */
function npmFolder(): string {
  const folder = path.dirname(process.execPath);
  const modules = process.platform === 'win32' ? 'node_modules' : '../lib/node_modules';
  return path.join(folder, modules, 'npm');
}
