// How a job is timed, and what is kept of its times.

/** What --quick makes of everything: enough to see that it works. */
export const QUICK = { runs: 3, into: 2, kernelMs: 0.2, images: 200 };
const WARM_UP = 5;
/** Where nobody asked for a number of runs, slow engines get fewer. */
const PATIENCE_MS = 60_000;

/**
 * Times in ms of `runs` calls of each function. They take turns, so that a busy moment of the machine
 * meets all of them and their ratios stay fair.
 */
export async function timed(functions, { runs, quick }) {
  const times = functions.map(() => []);
  const patience = performance.now() + (runs === undefined ? PATIENCE_MS : Infinity);
  const wanted = runs ?? (quick ? QUICK.runs : 100);
  for (let run = quick ? -1 : -WARM_UP; run < wanted; run++) {
    if (run >= QUICK.runs && performance.now() > patience) break;
    for (const [i, work] of functions.entries()) {
      const begun = performance.now();
      work();
      const ms = performance.now() - begun;
      if (run >= 0) times[i].push(ms);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return times;
}

/** What the JSON file says of one job; `flops` are those of one run, null if nobody counts them. */
export function entryOf(job, times, flops, more = {}) {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const ms = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const gflops = flops === null ? null : rounded(flops / ms / 1e6);
  return { job, ms: rounded(ms), minMs: rounded(sorted[0]), runs: times.length, gflops, ...more };
}

/** Five significant digits. */
export function rounded(value) {
  return Number(value.toPrecision(5));
}
