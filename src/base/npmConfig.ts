import path from 'node:path';
import Config from '@npmcli/config';
import definitions from '@npmcli/config/lib/definitions/index.js';
import type { Options } from 'pacote';
import { messageOf, UserError } from './errors.js';

/** What npm's libraries take; of it, this is sure to be there. */
type NpmOptions = Options & {
  registry: string;
  retry: { retries: number; minTimeout: number; maxTimeout: number };
};

/**
 * The settings under which npm itself would fetch here: registry, proxies, certificates, tokens,
 * cache, offline, from the environment and the npmrc files, read by npm's own reader.
 *
 * @throws UserError if npm would refuse the settings
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
    // Drops values of the wrong type, such as a number of retries that is a word.
    config.validate();
  } catch (error) {
    throw new UserError(`npm's settings cannot be used: ${messageOf(error)}`);
  }
  const options = config.flat as NpmOptions;
  const { retry } = options;
  // npm waits 10 s, then 60 s, before it tries again, which suits installs that nobody watches.
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

/** Where Node's installers put npm; packagers leave an npmrc there. */
function npmFolder(): string {
  const folder = path.dirname(process.execPath);
  const modules = process.platform === 'win32' ? 'node_modules' : '../lib/node_modules';
  return path.join(folder, modules, 'npm');
}
