import path from 'node:path';
import { z } from 'zod';
import { UserError } from '../base/errors.js';
import type { OfPair } from '../metrics/noise.js';
import { NOISE_PAIRS, type NoisePair } from '../paper/published.js';
import { configFile } from './builtIn.js';
import { type Config, isBang, snapshotIterations } from './experiment.js';
import {
  copies,
  engine,
  integer,
  mapping,
  oneOf,
  positive,
  runName,
  seed,
  text,
} from './fields.js';
import { problemOfRange, rangeValues, sizeOf } from './points.js';
import {
  complaintsOf,
  folderOf,
  loadConfig,
  complaintsAsErrors,
  plainOf,
  readYaml,
  stem,
} from './yamlFiles.js';
import { type KeyPath, type Problem, problemsOf, wrong } from './problems.js';
import { inner, type Tree } from './yamlTree.js';

/** The model of each pair of networks in the paper. */
const MODELS: Record<NoisePair, string> = { lenet: 'lenet', cifar10: 'cifar10-quick' };

/** A study with more values of σ would never finish. */
const MAX_SIGMAS = 1000;

const sigmaList = `a list of 1 to ${MAX_SIGMAS} numbers above 0`;

/** The shape of a noise study. */
export const noiseSchema = mapping({
  study: z.literal('noise', { error: 'noise' }).describe('What kind of study the file describes.'),
  name: runName
    .default('unnamed')
    .describe("Names the study and its folder; left out: the file's name without its extension."),
  description: text.optional().describe('A sentence for readers, which the program only repeats.'),
  regular: text.describe(
    'The configuration of the network with regular training: its path, relative to this file, or the name of one that comes with the program.',
  ),
  bang: text.describe('The configuration of the network with BANG, in the same way.'),
  seed: seed
    .default(1)
    .describe('Seeds the noise and the choice of images: an integer from 0 to 4294967295.'),
  engine,
  every: integer(1).describe(
    'Iterations between two stages of training at which distortions are measured; the last iteration is always a stage.',
  ),
  sigmas: z
    .union(
      [
        z
          .array(positive(), { error: sigmaList })
          .min(1, { error: sigmaList })
          .max(MAX_SIGMAS, { error: sigmaList }),
        mapping({
          from: positive().describe('The first σ.'),
          to: positive().describe('The last σ, a whole number of steps from the first.'),
          step: positive().describe('The difference between two values of σ.'),
        }),
      ],
      { error: 'a list of numbers above 0, or a mapping with from, to and step' },
    )
    .describe('Standard deviations of the noise in grey levels: a list, or from, to and step.'),
  images: integer(1)
    .default(100)
    .describe(
      'The most test images of each class to use, of those that both networks classify correctly at every stage.',
    ),
  copies: mapping({
    last: copies.default(1000).describe('Distortions of each image and σ at the end of training.'),
    before: copies.default(100).describe('Distortions of each image and σ at the earlier stages.'),
  })
    .prefault({})
    .describe('How many distortions.'),
  published: oneOf(NOISE_PAIRS)
    .optional()
    .describe(
      "The paper's pair of networks whose numbers are printed beside the results; left out: none.",
    ),
});

/** A checked noise study: plain data, all defaults filled in. */
export interface NoiseStudy {
  name: string;
  description?: string;
  seed: number;
  engine: Config['engine'];
  /** How the networks are trained, with snapshots at the stages. */
  networks: OfPair<Config>;
  /** The iterations at which distortions are measured, ascending; the last ends the training. */
  stages: number[];
  /** In grey levels. */
  sigmas: number[];
  /** The most images of each class. */
  images: number;
  copies: { last: number; before: number };
  published?: NoisePair;
}

/** A noise study from its files and the overrides of the command line. */
export interface LoadedNoise {
  study: NoiseStudy;
  /** The study as a file that can lie anywhere: it has all defaults, and absolute paths. */
  written: z.output<typeof noiseSchema>;
  /** The study's file, the networks' files, and all files that they extend. */
  sources: string[];
}

/**
 * Reads a noise study and the configurations of its networks.
 *
 * @param given the path of the file, or the name of one that comes with the program
 * @throws ConfigError with a line for each problem; UserError if a file cannot be read or is not a
 *   noise study
 */
export async function loadNoise(
  given: string,
  overrides: readonly string[] = [],
): Promise<LoadedNoise> {
  const file = configFile(given);
  const sources: string[] = [];
  const networkSources: string[] = [];
  const read = await complaintsAsErrors(sources, async () => {
    const tree = await readYaml(file, sources, overrides);
    const { value, removed } = plainOf(tree);
    if (!Object.hasOwn(value, 'study')) {
      throw new UserError(`${given} is not a noise study, which has the line study: noise`);
    }
    if (!Object.hasOwn(value, 'name')) value.name = stem(file);
    const checked = await check(value, removed, { tree, file }, networkSources);
    if ('problems' in checked) throw complaintsOf(tree, checked.problems);
    return checked;
  });
  return { ...read, sources: [...sources, ...networkSources] };
}

async function check(
  value: unknown,
  removed: readonly KeyPath[],
  from: { tree: Tree; file: string },
  sources: string[],
): Promise<Omit<LoadedNoise, 'sources'> | { problems: Problem[] }> {
  const shape = problemsOf(noiseSchema, value, removed);
  if (shape.length > 0) return { problems: shape };
  const parsed = noiseSchema.parse(value);
  const { sigmas, problem } = sigmasOf(parsed.sigmas);
  const problems: Problem[] = problem ? [problem] : [];
  const written = { ...parsed };
  const refuse = (key: string, message: string) => problems.push(wrong([key], message));

  const load = async (key: keyof OfPair<Config>): Promise<Config | undefined> => {
    const { [key]: given } = parsed;
    try {
      const named = configFile(given, folderOf(inner(from.tree, key), path.dirname(from.file)));
      written[key] = path.resolve(named);
      const { config, seeds, sources: read } = await loadConfig(named);
      sources.push(...read);
      if (seeds) refuse(key, `expected a configuration with one seed, found ${seeds.length} seeds`);
      if (config.training.from !== undefined) {
        refuse(key, 'expected a training that begins with random weights, found training.from');
      }
      const training = { ...config.training, snapshots: parsed.every };
      return { ...config, training };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refuse(key, error.message);
      return undefined;
    }
  };
  const [regular, bang] = [await load('regular'), await load('bang')];
  if (regular && isBang(regular)) refuse('regular', 'expected regular training, found BANG');
  if (bang && !isBang(bang)) refuse('bang', 'expected training with BANG, found regular training');
  if (!regular || !bang) return { problems };
  if (bang.data !== regular.data) {
    refuse('bang', `expected ${regular.data}, the data of regular, found ${bang.data}`);
  }
  const { iterations } = regular.training;
  if (bang.training.iterations !== iterations) {
    refuse(
      'bang',
      `expected ${iterations} iterations, as for regular, found ${bang.training.iterations}`,
    );
  }
  const { published } = parsed;
  if (published !== undefined && regular.model !== MODELS[published]) {
    refuse('published', `the paper's numbers for ${published} are for ${MODELS[published]}`);
  }
  if (problems.length > 0) return { problems };
  const { name, description, seed, engine, images, copies } = parsed;
  const stages = [...snapshotIterations(regular.training), iterations];
  const study: NoiseStudy = {
    name,
    description,
    seed,
    engine,
    networks: { regular, bang },
    stages,
    sigmas,
    images,
    copies,
    published,
  };
  return { study, written };
}

function sigmasOf(given: z.output<typeof noiseSchema>['sigmas']): {
  sigmas: number[];
  problem?: Problem;
} {
  const refused = (message: string, inner: string[] = []) => ({
    sigmas: [],
    problem: wrong(['sigmas', ...inner], message),
  });
  if (Array.isArray(given)) {
    const twice = given.find((sigma, i) => given.indexOf(sigma) < i);
    return twice === undefined ? { sigmas: given } : refused(`${twice} is in the list twice`);
  }
  const problem = problemOfRange('sigmas', given);
  if (problem) return refused(problem.message, [problem.key]);
  const count = sizeOf(given);
  if (count > MAX_SIGMAS) return refused(`expected at most ${MAX_SIGMAS} values, found ${count}`);
  return { sigmas: rangeValues(given) };
}
