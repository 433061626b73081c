import path from 'node:path';
import { UserError } from '../base/errors.js';
import { packageRoot } from '../base/files.js';
import type { AnyEvaluation, Config } from '../config/experiment.js';
import { loadConfig } from '../config/yamlFiles.js';

/** The name for the folder of results on these weights. */
export function nameOfWeights(file: string): string {
  const parts = path.resolve(file).split(path.sep);
  const stem = parts.at(-1)!.replace(/\..*$/, '');
  // All runs' weights have this name, so use the folder's.
  return stem === 'weights' && parts.length > 1 ? parts.at(-2)! : stem;
}

/** A config's defaults with `--set`, of which only the evaluation and the engine apply to weights that exist. */
export async function settingsOf(
  set: string[],
): Promise<Pick<Config, 'engine'> & { evaluation: AnyEvaluation }> {
  const foreign = set.find((one) => !/^(evaluation\.|engine=)/.test(one));
  if (foreign !== undefined) {
    throw new UserError(
      `--set ${foreign}: the weights are trained already, so only evaluation.… and engine can be set`,
    );
  }
  const base = path.join(packageRoot, 'configs', 'base', 'lenet.yaml');
  // Any network on any data: neither is known before the weights are read.
  const any =
    'model={image: [1, 1, 1], classes: 2, layers: [{kind: innerProduct, name: out, outputs: 2}]}';
  const { engine, evaluation } = (await loadConfig(base, [...set, any, 'data=idx'])).config;
  const last = set.findLast((one) => one.startsWith('evaluation.channels='));
  const isGiven = last !== undefined && !/=\s*(null|~)\s*$/i.test(last);
  return { engine, evaluation: isGiven ? evaluation : { ...evaluation, channels: undefined } };
}
