import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { isRunFolder } from './collect.js';
import type { Checked } from '../config/parse.js';
import type { Config } from '../config/experiment.js';
import { FILES } from './resultFolder.js';

/** An experiment of one seed, and the folder that is its own. */
export interface SeedRun {
  config: Config;
  folder: string;
}

/**
 * The runs of which an experiment is made: itself, or, of a list of seeds, one for each, in a folder
 * `seed-N` of its own, the same as a run with that `seed` would make.
 *
 * @throws UserError if there is to be a list of seeds in the folder of a single run, or the reverse: a
 *   table would take the two for one experiment
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

/** @throws UserError if the folder, which is to hold a single run, holds one for each of several seeds */
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
    // There is none, or one that cannot be read or written, which is said where it is opened.
    return [];
  }
}
