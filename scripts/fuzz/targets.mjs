// All targets: how each is begun, and how many inputs it gets unless --count says it.
import { targets as commands } from './commands.mjs';
import { targets as configs } from './configs.mjs';
import { targets as data } from './data.mjs';
import { targets as kills } from './kills.mjs';
import { targets as queue } from './queue.mjs';
import { targets as results } from './results.mjs';
import { targets as weights } from './weights.mjs';

const starts = { ...configs, ...weights, ...data, ...queue, ...results, ...commands, ...kills };

const COUNTS = {
  config: 10_000,
  network: 10_000,
  set: 20_000,
  sweep: 5000,
  noise: 10_000,
  hdf5: 5000,
  mnist: 10_000,
  cifar10: 10_000,
  show: 1000,
  resume: 200,
  arguments: 2000,
  process: 100,
  kill: 52,
  full: 26,
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
  Object.entries(starts).map(([name, start]) => [
    name,
    { start, count: COUNTS[name] ?? 20_000, ...SLOW[name] },
  ]),
);
