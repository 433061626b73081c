import path from 'node:path';
import { stringify } from 'yaml';
import type { CommandModule } from 'yargs';
import { configFile } from '../config/builtIn.js';
import { type Config, fullTraining } from '../config/experiment.js';
import { loadNoise } from '../config/noise.js';
import { loadPlan } from '../config/sweep.js';
import { kindOfFile, loadConfig, type LoadedConfig } from '../config/yamlFiles.js';
import { setOption } from './options.js';

interface ConfigArguments {
  file: string;
  set: string[];
}

export const configCommand: CommandModule<object, ConfigArguments> = {
  builder: (yargs) =>
    yargs
      .positional('file', {
        type: 'string',
        demandOption: true,
        describe: 'YAML file of an experiment, a noise study or a sweep, or a name of bang configs',
      })
      .option('set', setOption)
      .example('$0 config lenet-b1', 'what a run of it does')
      .example(
        '$0 config lenet-b1 --set seed=2 > mine.yaml',
        'a file that can be run, and extends no other',
      )
      .epilog(
        'What is printed can be run again. A sweep is printed with its base but without defaults, which depend on the values of each cell.',
      ),
  handler: async ({ file, set }) => {
    process.stdout.write(await fullText(configFile(file), set));
  },
};

/**
 * A configuration as YAML that depends on no other file, except that a noise study names the files of its
 * networks, by absolute paths.
 *
 * @throws ConfigError with a line for each problem; UserError if a file cannot be read
 */
export async function fullText(file: string, overrides: readonly string[] = []): Promise<string> {
  const kind = await kindOfFile(file);
  if (kind === 'study') return stringify((await loadNoise(file, overrides)).written);
  if (kind === 'sweep') return stringify((await loadPlan(file, overrides)).record);
  return stringify(fullConfig(await loadConfig(file, overrides)));
}

function fullConfig({ config, seeds, expect }: LoadedConfig): Record<string, unknown> {
  const entries = Object.entries(config).map(([key, value]) =>
    key === 'seed' && seeds ? ['seeds', seeds] : [key, value],
  );
  const full: Record<string, unknown> = {
    ...(Object.fromEntries(entries) as Record<string, unknown>),
    training: placed(fullTraining(config.training)),
  };
  if (!expect) return full;
  const { baseline, bands } = expect;
  return {
    ...full,
    expect: {
      ...(baseline !== undefined && { baseline: path.resolve(baseline) }),
      ...Object.fromEntries(bands),
    },
  };
}

/** With an absolute path of the weights that training begins from. */
function placed(training: Config['training']): Config['training'] {
  const { from } = training;
  if (from === undefined) return training;
  const absolute =
    typeof from === 'string'
      ? path.resolve(from)
      : { ...from, weights: path.resolve(from.weights) };
  return { ...training, from: absolute };
}
