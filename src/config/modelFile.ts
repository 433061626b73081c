import type { z } from 'zod';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import type { NetworkName } from '../model/networks.js';
import { UserError } from '../base/errors.js';
import { type LayerSpec, withoutBatchNorm } from '../model/layers.js';
import { modelNames } from './experimentSchema.js';
import { mapping, oneOf, text } from './fields.js';
import { type OwnNetwork, ownNetworkSchema, problemsOfNetwork } from './ownNetwork.js';
import { pathText, problemsOf } from './problems.js';
import { complaintsOf, complaintsAsErrors, plainOf, readYaml } from './yamlFiles.js';

/** What a YAML file says about weights: their network, and perhaps the data that it is for. */
export interface ModelFile {
  model: NetworkName | OwnNetwork;
  data?: DataName;
}

const model = oneOf(modelNames).or(ownNetworkSchema);
const modelFileSchema = mapping({ model, data: oneOf(DATA_NAMES).optional() });

/**
 * Reads the keys `model` and `data` of a YAML file, which may be that of an experiment; or its whole content, if
 * that is the description of a network.
 *
 * @throws ConfigError with a line for each problem; UserError if the file cannot be read
 */
export async function loadModelFile(file: string): Promise<ModelFile> {
  const sources: string[] = [];
  return complaintsAsErrors(sources, async () => {
    const tree = await readYaml(file, sources);
    const { value, removed } = plainOf(tree);
    if (Object.hasOwn(value, 'layers')) {
      const problems = problemsOf(ownNetworkSchema, value, removed);
      if (problems.length > 0) throw complaintsOf(tree, problems);
      return { model: ownNetworkSchema.parse(value) };
    }
    const own = Object.fromEntries(
      Object.entries(value).filter(([key]) => key === 'model' || key === 'data'),
    );
    const problems = problemsOf(modelFileSchema, own, []);
    if (problems.length > 0) throw complaintsOf(tree, problems);
    return modelFileSchema.parse(own);
  });
}

/**
 * Checks a network for weights of another program against the data, as a config's is.
 *
 * @throws UserError with a line for each problem
 */
export function refuseMisfit(file: string, given: OwnNetwork, data: DataName): void {
  // These two mean something here.
  const layers = given.layers.map((layer): LayerSpec => {
    const plain = withoutBatchNorm(layer);
    return 'weights' in plain ? { ...plain, weights: undefined } : plain;
  });
  const network = { ...given, layers } as OwnNetwork;
  const problems = problemsOfNetwork(network, { data, batch: undefined });
  if (problems.length === 0) return;
  throw new UserError(
    problems.map(({ path, message }) => `${file}: ${pathText(path)}: ${message}`).join('\n'),
  );
}

const describedSchema = mapping({
  name: text,
  model: ownNetworkSchema,
  data: oneOf(DATA_NAMES),
});

type Described = z.output<typeof describedSchema>;

/**
 * The limits of a config do not hold: a network that a graph describes may be larger.
 *
 * @throws if a value is not the name, network and data that the export of a network from elsewhere writes
 */
export function describedNetwork(value: unknown): Described {
  const { data, error } = describedSchema.safeParse(value);
  if (error && !error.issues.every(isOfLimit)) throw error;
  return data ?? (value as Described);
}

function isOfLimit(issue: z.core.$ZodIssue): boolean {
  // Padding is a number or a list.
  if (issue.code === 'invalid_union') return issue.errors.some((one) => one.every(isOfLimit));
  // Of the classes it does: predictions are bytes.
  return issue.code === 'too_big' && issue.path.join() !== 'model,classes';
}
