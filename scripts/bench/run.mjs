// What is measured, in which order.
import { messageOf, UserError } from '#bang/base/errors.js';
import { writeFileAtomic } from '#bang/base/files.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import { NETWORKS } from '#bang/model/networks.js';
import { compare } from './compare.mjs';
import { evaluate, prepareEvaluation } from './evaluation.mjs';
import { forward } from './forward.mjs';
import { kernelsOf } from './kernels.mjs';
import { parse } from './options.mjs';
import { findPeer, withPeer } from './peer.mjs';
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
  const peer = options.peer && (await findPeer(options, engine.threads, evaluation));
  printMachine(engine, peer);

  const peak = peakOf(binding, options);
  const entries = [];
  /** Times our jobs and then, alone on the machine, the peer's of the same name. */
  const measure = async (name, jobs) => {
    process.stderr.write(`measuring ${name}${peer ? ', then its peer' : ''} …\n`);
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
    const theirs = peer ? await peer.run(name) : [];
    for (const entry of measured) entries.push(withPeer(entry, theirs));
  };
  for (const spec of Object.values(NETWORKS)) {
    await measure(`${spec.name}.step`, () => steps(spec.name, options));
    await measure(`${spec.name}.forward`, () => forward(spec, options));
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
  printResults({ entries, kernels, peak: peak.highest, peer, beside: options.beside });
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
