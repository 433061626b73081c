import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { isRunFolder } from './collect.js';
import type { Checked } from '../config/parse.js';
import type { Config } from '../config/experiment.js';
import { FILES } from './resultFolder.js';

/** An experiment with one seed, and its folder. */
export interface SeedRun {
  config: Config;
  folder: string;
}

/**
 * The runs of an experiment: the experiment itself, or one run for each of a list of seeds, in a folder
 * `seed-N`, which equals a run with that `seed`.
 *
 * @throws UserError if a list of seeds would go into the folder of a single run or the reverse, which a
 *   table would take for one experiment
 */
export function runsOf({ config, seeds }: Checked, folder: string): SeedRun[] {
  if (!seeds) {
    refuseSeeds(folder);
    return [{ config, folder }];
  }
  if (existsSync(path.join(folder, FILES.identity))) {
    throw new UserError(
      `${folder} holds a single run, not one for each seed: choose another folder with --out`,
    );
  }
  return seeds.map((seed) => ({
    config: { ...config, seed },
    folder: path.join(folder, `seed-${seed}`),
  }));
}

/** @throws UserError if a folder for a single run already holds runs for several seeds */
export function refuseSeeds(folder: string): void {
  const isSeed = (name: string): boolean =>
    /^seed-\d+$/.test(name) && isRunFolder(path.join(folder, name));
  if (isRunFolder(folder) || !namesIn(folder).some(isSeed)) return;
  throw new UserError(
    `${folder} holds one run for each seed, not a single run: choose another folder with --out`,
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // If the folder exists but cannot be read, opening it reports that.
    return [];
  }
}
