import os from 'node:os';
import type { CommandModule } from 'yargs';
import { cacheFolder, readCache } from '../data/cache.js';
import { DATA_NAMES, sources } from '../data/sources.js';
import { nativeBinding, startEngine, type Engine } from '../engine/engine.js';
import { measureSpeed } from '../engine/speed.js';
import { version } from '../experiment/provenance.js';
import { shared } from './options.js';

export const doctorCommand: CommandModule<object, { threads?: number }> = {
  command: 'doctor',
  describe: 'say which engine computes here, why, how fast, and what would make it faster',
  builder: (yargs) =>
    yargs
      .option('threads', shared.threads)
      .example('$0 doctor', 'what computes here')
      .example('$0 doctor --threads 1', 'the same with one thread') as never,
  handler: async ({ threads }) => {
    const engine = await startEngine(threads === undefined ? {} : { threads });
    const print = (name: string, value: string): void => {
      process.stdout.write(`${name.padEnd(10)} ${value}\n`);
    };
    const cores = os.availableParallelism();
    print('bang', version());
    print('node', `${process.version}, ${process.platform} ${process.arch}`);
    print('cpu', `${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${cores} cores`);
    print('engine', engine.description);
    print('threads', `${engine.threads} (--threads, or BANG_THREADS)`);
    const speed = await measureSpeed(nativeBinding());
    const share = speed.peak === undefined ? '' : `, ${percent(speed.forward, speed.peak)} of`;
    const peak =
      speed.peak === undefined
        ? ''
        : `${share} the ${(speed.peak / 1e9).toFixed(0)} that multiply-adds alone reach`;
    print('speed', `LeNet forward ${(speed.forward / 1e9).toFixed(1)} GFLOP/s${peak}`);
    for (const name of DATA_NAMES) {
      const { state } = await readCache(sources[name]);
      print('data', `${name}: ${state}, in ${cacheFolder()}`);
    }
    for (const advice of advices(engine, cores)) print('advice', advice);
  },
};

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(0)} %`;
}

function advices({ name, threads, warning }: Engine, cores: number): string[] {
  const found: string[] = [];
  if (name === 'cpu') {
    found.push(warning ?? 'the native engine is some hundred times faster');
  } else if (threads < cores) {
    found.push(`${cores - threads} of ${cores} cores are idle: --threads ${cores}`);
  } else if (threads > cores) {
    found.push(`more threads than cores slow each other down: --threads ${cores}`);
  }
  const binding = nativeBinding();
  if (binding && process.arch === 'x64' && binding.level() === 'baseline') {
    found.push('this processor has neither AVX2 nor AVX-512: one that has is several times faster');
  }
  return found.length > 0 ? found : ['nothing: this is as fast as it gets on this machine'];
}
