import type { CommandModule } from 'yargs';
import { counted } from '../base/text.js';
import { UserError } from '../base/errors.js';
import { withoutPatterns } from '../config/builtIn.js';
import { configNotes } from '../config/acrossKeys.js';
import { type Config, isBang, isOwn, networkOf, trainingInWords } from '../config/experiment.js';
import { ConfigError, kindOfFile, loadConfig } from '../config/yamlFiles.js';
import { loadNoise, type NoiseStudy } from '../config/noise.js';
import { loadPlan } from '../config/sweep.js';
import { countParameters } from '../model/layers.js';
import { makeNetwork } from '../model/network.js';
import { setOption } from './options.js';

interface ValidateArguments {
  files: string[];
  set: string[];
}

export const validateCommand: CommandModule<object, ValidateArguments> = {
  builder: (yargs) =>
    yargs
      .positional('files', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'YAML files of experiments, sweeps and noise studies, or names of bang configs',
      })
      .option('set', setOption)
      .example('$0 validate configs/*.yaml', 'check all of them; exit code 2 if one is wrong')
      .example(
        '$0 validate lenet.yaml --set training.bang.beta=1.2',
        'check what a run with that change would do',
      ),
  handler: async ({ files, set }) => {
    await validate(withoutPatterns(files), set);
  },
};

/**
 * Prints a line for each valid file.
 *
 * @throws UserError with all problems of all the other files
 */
export async function validate(
  files: readonly string[],
  overrides: readonly string[],
): Promise<void> {
  const lines: string[] = [];
  let bad = 0;
  for (const file of files) {
    try {
      for (const line of await validLines(file, overrides))
        process.stdout.write(`${file}: ${line}\n`);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      bad++;
      lines.push(...(error instanceof ConfigError ? error.lines : [error.message]));
    }
  }
  if (bad === 0) return;
  // Files that extend the same broken base have the same problems.
  const problems = [...new Set(lines)];
  throw new UserError(
    problems.length === 1
      ? problems[0]
      : `${bad} of ${counted(files.length, 'file is', 'files are')} not valid\n${problems.join('\n')}`,
  );
}

/**
 * What is said of a valid file.
 *
 * @throws UserError if it is not valid
 */
async function validLines(file: string, overrides: readonly string[]): Promise<string[]> {
  const kind = await kindOfFile(file);
  if (kind === 'study') {
    const { study } = await loadNoise(file, overrides);
    return [`ok (${studySummary(study)})`];
  }
  if (kind === 'sweep') {
    const { keys, cells } = await loadPlan(file, overrides);
    return [`ok (sweep over ${keys.join(' and ')}, ${counted(cells.length, 'cell')})`];
  }
  const { config, seeds, expect } = await loadConfig(file, overrides);
  const runs = seeds ? `, seeds ${seeds.join(' ')}` : '';
  const notes = [...configNotes(config), ...(expect?.notes ?? [])];
  return [`ok (${summary(config)}${runs})`, ...notes.map((note) => `note: ${note}`)];
}

/** An experiment in a few words: `lenet on mnist, BANG beta 1, epsilon 0.815`. */
export function summary(config: Config): string {
  const { data, training } = config;
  const subject = `${modelText(config)} on ${data}`;
  const words = trainingInWords(training, 'regular training');
  if (!training.bang || !isBang(config)) return `${subject}, ${words}`;
  const { beta, epsilon, ratio } = training.bang;
  const numbers = [`BANG beta ${perLayer(beta)}`, `epsilon ${perLayer(epsilon)}`];
  if (ratio !== 1) numbers.push(`ratio ${ratio}`);
  return `${subject}, ${words.replace('BANG', numbers.join(', '))}`;
}

/** A study in a few words: `noise on lenet-r0 and lenet-b1, 20 stages, 10 sigmas`. */
function studySummary({ networks, stages, sigmas }: NoiseStudy): string {
  const { regular, bang } = networks;
  return `noise on ${regular.name} and ${bang.name}, ${counted(stages.length, 'stage')}, ${counted(sigmas.length, 'sigma')}`;
}

/** `lenet`, or `own network (conv1, ip1; 12 345 parameters)`. */
function modelText(config: Config): string {
  if (!isOwn(config.model)) return config.model;
  const { weighted } = makeNetwork(networkOf(config));
  const names = weighted.map(({ name }) => name);
  const parameters = weighted.reduce((sum, layer) => sum + countParameters(layer), 0);
  const thousands = parameters.toLocaleString('en').replaceAll(',', ' ');
  return `own network (${names.join(', ')}; ${thousands} parameters)`;
}

function perLayer(value: number | string | Record<string, number>): string {
  if (typeof value !== 'object') return String(value);
  return Object.entries(value)
    .map(([layer, number]) => `${number} (${layer})`)
    .join(' ');
}
