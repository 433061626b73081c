// All targets: how each is begun, and how many inputs it gets unless --count says it.

/** By file; each is loaded only in the process of a target of it. */
const FILES = {
  configs: { config: 10_000, network: 10_000, set: 20_000, sweep: 5000, noise: 10_000 },
  weights: { safetensors: 20_000, hdf5: 5000 },
  data: { idx: 20_000, mnist: 10_000, cifar10: 10_000 },
  queue: { job: 20_000, reply: 20_000 },
  results: { show: 1000, resume: 200 },
  commands: { arguments: 2000, process: 100 },
  kills: { kill: 52, full: 26 },
};

/** What starts processes takes longer. */
const SLOW = {
  kill: { mostSeconds: 100 },
  full: { mostSeconds: 100 },
  process: { mostSeconds: 60 },
  arguments: { mostSeconds: 30 },
  resume: { mostSeconds: 30 },
};

/** By name: `start` gets an empty folder and returns a function that tries one input and says if it was taken. */
export const TARGETS = Object.fromEntries(
  Object.entries(FILES).flatMap(([file, counts]) =>
    Object.entries(counts).map(([name, count]) => {
      const start = async (folder) => (await import(`./${file}.mjs`)).targets[name](folder);
      return [name, { start, count, ...SLOW[name] }];
    }),
  ),
);
