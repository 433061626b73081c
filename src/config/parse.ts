import { AUTO, EFFORT, PROTOCOL } from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import { budgetsOf } from './budgets.js';
import { type Expectation, expectationOf, isOfUnknownNumber, problemsOfExpect } from './expect.js';
import { weightedLayersOf } from './ownNetwork.js';
import { type KeyPath, pathText, type Problem, problemsOf } from './problems.js';
import { briefTraining, channelsFor, type Config, layersOf } from './experiment.js';
import { configSchema, type Parsed } from './experimentSchema.js';
import { problemsAcross } from './acrossKeys.js';

/** A config, and the keys beside it that change none of its numbers. */
export interface Checked {
  config: Config;
  /** The seeds to run, if there is a list; `config` has the first. */
  seeds?: number[];
  expect?: Expectation;
}

/**
 * Checks an experiment that comes from a program, not from a file.
 *
 * @throws UserError with a line `training.bang.betta: …` for each problem
 */
export function parseConfig(value: unknown): Config {
  const checked = checkConfig(value);
  if ('config' in checked) {
    if (checked.seeds) throw new UserError('seeds: expected one seed, found a list');
    return checked.config;
  }
  const lines = checked.problems.map(({ path, message }) =>
    path.length === 0 ? message : `${pathText(path)}: ${message}`,
  );
  throw new UserError(lines.join('\n'));
}

/**
 * Checks an experiment and returns all its problems.
 *
 * @param removed paths that a file sets to null to drop inherited values: they must be existing keys
 */
export function checkConfig(
  value: unknown,
  removed: readonly KeyPath[] = [],
): Checked | { problems: Problem[] } {
  const problems = [
    // What is inside a band of no number is no further mistake.
    ...problemsOf(configSchema, value, removed).filter(({ path }) => !isOfUnknownNumber(path)),
    ...problemsAcross(value),
    ...problemsOfExpect(value, removed),
  ];
  if (problems.length > 0) return { problems };
  const { seeds, expect, ...parsed } = configSchema.parse(value);
  const config = orderLayers(settle(parsed));
  return {
    config: seeds ? { ...config, seed: seeds[0] } : config,
    seeds,
    expect: expect && expectationOf(expect),
  };
}

/**
 * Fills in search and channels from the protocol where the config leaves them out, and writes budgets in grey levels.
 * Keeps only what counts:
 * `pgd`, `apgd` and `square` for attacks that are made, and keys of the training that do not just say the default.
 */
function settle(parsed: Omit<Parsed, 'seeds' | 'expect'>): Config {
  const { images, attacks, budgets, pgd, apgd, square, protocol, search, channels, ...others } =
    parsed.evaluation;
  const makes = (name: 'apgd' | 'square') => attacks.includes(name) || attacks.includes(AUTO);
  const effort = {
    ...(attacks.includes('pgd') && { pgd: pgd ?? EFFORT.pgd }),
    ...(makes('apgd') && { apgd: apgd ?? EFFORT.apgd }),
    ...(makes('square') && { square: square ?? EFFORT.square }),
  };
  return {
    ...parsed,
    training: briefTraining(parsed.training),
    evaluation: {
      images,
      attacks,
      ...(budgets && { budgets: budgetsOf(budgets) }),
      ...effort,
      protocol,
      search: search ?? PROTOCOL[protocol].search,
      channels: channels ?? channelsFor(parsed.model, protocol),
      ...others,
    },
  };
}

/** Puts layers in the network's order, so that the order in the file does not change hashes. */
function orderLayers(config: Config): Config {
  const { bang } = config.training;
  if (!bang) return config;
  const layers = weightedLayersOf(layersOf(config.model));
  const ordered = <T extends number | string>(value: T | Record<string, number>) =>
    typeof value === 'object'
      ? Object.fromEntries(layers.map((name) => [name, value[name]]))
      : value;
  const { beta, epsilon, ...rest } = bang;
  const training = {
    ...config.training,
    bang: { beta: ordered(beta), epsilon: ordered(epsilon), ...rest },
  };
  return { ...config, training };
}
