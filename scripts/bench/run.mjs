// What is measured, in which order.
import { messageOf, UserError } from '#bang/base/errors.js';
import { writeFileAtomic } from '#bang/base/files.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import { NETWORKS } from '#bang/model/networks.js';
import { compare } from './compare.mjs';
import { evaluate, prepareEvaluation } from './evaluation.mjs';
import { forward, forwardFiles } from './forward.mjs';
import { kernelsOf } from './kernels.mjs';
import { parse } from './options.mjs';
import { findPeers, runPeers, withPeers } from './peers.mjs';
import { printMachine, printResults } from './print.mjs';
import { steps } from './steps.mjs';
import { rounded } from './timing.mjs';

/** @returns the exit code */
export async function run(args) {
  try {
    const options = await parse(args);
    if (options?.compare) compare(options.compare);
    else if (options) await bench(options);
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${messageOf(error)}\n`);
    if (process.env.BANG_DEBUG) process.stderr.write(`${error.stack}\n`);
    return error instanceof UserError ? 2 : 1;
  }
}

async function bench(options) {
  const { threads } = options;
  const engine = await startEngine({
    engine: options.engine ?? 'auto',
    ...(threads !== undefined && { threads }),
  });
  const binding = kernelBinding();
  if (options.kernels && !binding) {
    throw new UserError(
      `--kernels needs the engine native or wasm, but here are ${engine.description}`,
    );
  }
  // Whatever can be wrong is found before minutes of work.
  const evaluation = options.evaluate && (await prepareEvaluation(options));
  const { peers, missing } = await findPeers(options, engine.threads, evaluation);
  printMachine(engine, peers, missing);

  const peak = peakOf(binding, options);
  const entries = [];
  /** Times our jobs and then, each alone on the machine, those of the peers; `write` makes the files of `runPeers`. */
  const measure = async (name, jobs, write) => {
    process.stderr.write(`measuring ${name}${peers.length > 0 ? ', then its peers' : ''} …\n`);
    peak.look();
    const measured = await jobs();
    peak.look();
    if (options.beside) {
      await startEngine({ engine: options.beside, threads: engine.threads });
      const others = await jobs();
      await startEngine({ engine: engine.name, threads: engine.threads });
      measured.forEach((entry, i) => {
        const { ms, minMs } = others[i];
        entry.beside = { engine: options.beside, ms, minMs };
        entry.ratioOfBeside = rounded(ms / entry.ms);
      });
    }
    const theirs = await runPeers(peers, name, write);
    for (const entry of measured) entries.push(withPeers(entry, theirs));
  };
  for (const spec of Object.values(NETWORKS)) {
    await measure(`${spec.name}.step`, () => steps(spec.name, options));
    await measure(
      `${spec.name}.forward`,
      () => forward(spec, options),
      (folder) => forwardFiles(spec, folder),
    );
  }
  if (evaluation) await measure('lenet.evaluate', () => evaluate(evaluation));
  const kernels = [];
  for (const spec of options.kernels ? Object.values(NETWORKS) : []) {
    process.stderr.write(`measuring the kernels of ${spec.name} …\n`);
    kernels.push(...(await kernelsOf(spec, binding, options)));
    peak.look();
  }

  const all = [...entries, ...kernels];
  for (const entry of all) {
    entry.engine = engine.name;
    entry.threads = engine.threads;
    if (peak.highest && entry.gflops !== null) {
      entry.shareOfPeak = rounded((entry.gflops * 1e9) / peak.highest);
    }
  }
  printResults({ entries, kernels, peak: peak.highest, peers, beside: options.beside });
  if (options.json !== undefined) {
    writeFileAtomic(options.json, `${JSON.stringify(all, null, 2)}\n`);
  }
}

/**
 * Operations a second of multiply-adds in registers; 0 without kernels. A busy moment can only lower what
 * is measured, so the highest of many short looks counts.
 */
function peakOf(binding, { quick }) {
  const peak = {
    highest: 0,
    look() {
      for (let i = 0; binding && i < 5; i++) {
        peak.highest = Math.max(peak.highest, 2 * binding.peak(quick ? 0.01 : 0.04));
      }
    },
  };
  return peak;
}
