import { EFFORT, PROTOCOL } from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import { type Expectation, expectationOf, problemsOfExpect, unknownFigure } from './expect.js';
import { weightedLayersOf } from './ownNetwork.js';
import { type KeyPath, pathText, type Problem, problemsOf } from './problems.js';
import { type Config, layersOf } from './experiment.js';
import { configSchema, type Parsed } from './experimentSchema.js';
import { problemsAcross } from './acrossKeys.js';

/** A config, and what is said beside it: no figure depends on that. */
export interface Checked {
  config: Config;
  /** The seeds for which it is to be run, if there is a list: `config` has the first. */
  seeds?: number[];
  expect?: Expectation;
}

/**
 * Checks an experiment that a program made.
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
 * Checks an experiment and says everything that is wrong with it.
 *
 * @param removed paths that a file sets to null, to drop what it inherits: they must be real keys
 */
export function checkConfig(
  value: unknown,
  removed: readonly KeyPath[] = [],
): Checked | { problems: Problem[] } {
  const problems = [
    ...problemsOf(configSchema, value, removed).map(namingFigures),
    ...problemsAcross(value),
    ...problemsOfExpect(value),
  ];
  if (problems.length > 0) return { problems };
  const { seeds, expect, ...parsed } = configSchema.parse(value);
  const config = orderLayers(fillProtocol(parsed));
  return {
    config: seeds ? { ...config, seed: seeds[0] } : config,
    seeds,
    expect: expect && expectationOf(expect),
  };
}

/** A key of `expect` that does not exist is a figure that does not. */
function namingFigures(problem: Problem): Problem {
  const [block, name] = problem.path;
  const isFigure = block === 'expect' && problem.path.length === 2;
  if (!isFigure || problem.at !== 'key') return problem;
  return { ...problem, message: unknownFigure(String(name)) };
}

/**
 * What a protocol says of the line search holds where the config does not. How hard an attack tries
 * is there if the attack is made, and only then.
 */
function fillProtocol(parsed: Omit<Parsed, 'seeds' | 'expect'>): Config {
  const { images, attacks, pgd, square, protocol, pass } = parsed.evaluation;
  const { search = PROTOCOL[protocol].search, channels = PROTOCOL[protocol].channels } =
    parsed.evaluation;
  const effort = {
    ...(attacks.includes('pgd') && { pgd: pgd ?? EFFORT.pgd }),
    ...(attacks.includes('square') && { square: square ?? EFFORT.square }),
  };
  return {
    ...parsed,
    evaluation: { images, attacks, ...effort, protocol, search, channels, pass },
  };
}

/** The order in which layers are named says nothing, so it shall not show in a hash either. */
function orderLayers(config: Config): Config {
  const { bang } = config.training;
  if (!bang) return config;
  const layers = weightedLayersOf(layersOf(config.model));
  const ordered = (value: number | Record<string, number>) =>
    typeof value === 'number'
      ? value
      : Object.fromEntries(layers.map((name) => [name, value[name]]));
  const { beta, epsilon, ...rest } = bang;
  const training = {
    ...config.training,
    bang: { beta: ordered(beta), epsilon: ordered(epsilon), ...rest },
  };
  return { ...config, training };
}
