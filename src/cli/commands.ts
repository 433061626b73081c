import type { CommandModule } from 'yargs';

/** A command of which only what `bang --help` shows is loaded at start. */
export interface LazyCommand {
  /** With its arguments: `run <config..>`. */
  command: string;
  describe: string;
  /** Loads its options and what it does. */
  load: () => Promise<unknown>;
}

/** All commands, in the order of the help. */
export const COMMANDS: readonly LazyCommand[] = [
  {
    command: 'run <config..>',
    describe: 'train and evaluate the network of a config, and print its row of the table',
    load: async () => (await import('./run.js')).runCommand,
  },
  {
    command: 'eval <weights>',
    describe: 'attack a trained network, and print its row',
    load: async () => (await import('./eval.js')).evalCommand,
  },
  {
    command: 'noise <study>',
    describe: 'measure the effect of noise over training, without and with BANG',
    load: async () => (await import('./noise.js')).noiseCommand,
  },
  {
    command: 'transfer <a> <b>',
    describe: 'try on each of two networks what fools the other',
    load: async () => (await import('./transfer.js')).transferCommand,
  },
  {
    command: 'table <folders..>',
    describe: "print all results in a folder as the paper's tables",
    load: async () => (await import('./table.js')).tableCommand,
  },
  {
    command: 'figure <name> <results..>',
    describe: 'draw results as SVG and PNG',
    load: async () => (await import('./figure.js')).figureCommand,
  },
  {
    command: 'report <results..>',
    describe: 'write results as one web page: tables, figures, adversarial examples',
    load: async () => (await import('./report.js')).reportCommand,
  },
  {
    command: 'view <results..>',
    describe: 'show results in a browser, while runs or a sweep are in progress',
    load: async () => (await import('./view.js')).viewCommand,
  },
  {
    command: 'sweep <config>',
    describe: 'run a grid, a list or a random sample of experiments',
    load: async () => (await import('./sweep.js')).sweepCommand,
  },
  {
    command: 'check <configs..>',
    describe: 'run configs and check their numbers against their expect blocks',
    load: async () => (await import('./check.js')).checkCommand,
  },
  {
    command: 'diff <a> <b>',
    describe: 'show what changed between two runs',
    load: async () => (await import('./diff.js')).diffCommand,
  },
  {
    command: 'worker',
    describe: 'compute cells of sweeps from a queue on this machine',
    load: async () => (await import('./worker.js')).workerCommand,
  },
  {
    command: 'export <weights>',
    describe: 'write weights in the format of another program: ONNX, safetensors, Caffe',
    load: async () => (await import('./export.js')).exportCommand,
  },
  {
    command: 'data <action>',
    describe: 'fetch, list and verify the data sets in the cache',
    load: async () => (await import('./data.js')).dataCommand,
  },
  {
    command: 'validate <files..>',
    describe: 'check configurations without running anything',
    load: async () => (await import('./validate.js')).validateCommand,
  },
  {
    command: 'configs',
    describe: 'list the configurations that come with the program',
    load: async () => (await import('./configs.js')).configsCommand,
  },
  {
    command: 'config <file>',
    describe: 'print a configuration in full, with every default filled in',
    load: async () => (await import('./config.js')).configCommand,
  },
  {
    command: 'init [file]',
    describe: 'write a configuration to start from, with every key explained',
    load: async () => (await import('./init.js')).initCommand,
  },
  {
    command: 'schema [kind]',
    describe: 'print the JSON Schema of configurations, for editors',
    load: async () => (await import('./schema.js')).schemaCommand,
  },
  {
    command: 'setup <engine>',
    describe: 'install an engine that does not come with the program',
    load: async () => (await import('./setup.js')).setupCommand,
  },
  {
    command: 'doctor',
    describe: 'show which engine is used here, how fast it is, and what would make it faster',
    load: async () => (await import('./doctor.js')).doctorCommand,
  },
];

/** For yargs, which asks for the rest of the one command that is used. */
export function whenUsed({ command, describe, load }: LazyCommand): CommandModule {
  const loaded = async () => (await load()) as CommandModule;
  return {
    command,
    describe,
    builder: (async (yargs: never) => {
      const { builder } = await loaded();
      return typeof builder === 'function' ? builder(yargs) : yargs;
    }) as never,
    handler: async (args) => {
      await (await loaded()).handler(args);
    },
  };
}

/** The commands and their actions with their arguments: `run <config..>`, `data list`. */
export async function allUsages(): Promise<string[]> {
  const [{ dataActions }, { sweepActions }] = await Promise.all([
    import('./data.js'),
    import('./sweep.js'),
  ]);
  return [
    ...COMMANDS.map(({ command }) => command),
    'completion',
    ...dataActions.map(({ command }) => `data ${String(command)}`),
    ...sweepActions.map(({ command }) => `sweep ${String(command)}`),
  ];
}
