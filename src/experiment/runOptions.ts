import { type Engine, startEngine } from '../engine/engine.js';
import type { Progress } from '../base/progress.js';
import { type Config } from '../config/experiment.js';
import type { ImageFormat } from '../store/savedImages.js';

export interface RunOptions {
  /** The result folder. */
  out: string;
  /** Whether to start over in a folder that already holds an experiment. */
  force?: boolean;
  /** The files that the experiment was read from, which starting over must not remove. */
  inputs?: readonly string[];
  /** A folder with the data set's files, instead of the cache. */
  dataDir?: string;
  threads?: number;
  /** Write the adversarial images into the result folder, too, in this format. */
  saveImages?: ImageFormat | undefined;
  /** How long to wait for a process that holds the result folder, in milliseconds: default 0. */
  patience?: number;
  /** Called once when something has to be computed, before the data are loaded. */
  begins?: (engine: Engine) => void;
  progress: Progress;
  signal?: AbortSignal;
}

/** Starts an engine, and prints its warning if it has one. */
export async function announceEngine(
  wanted: Config['engine'],
  options: Pick<RunOptions, 'threads' | 'progress'>,
): Promise<Engine> {
  const engine = await startEngine({
    engine: wanted,
    threads: options.threads,
  });
  if (engine.warning !== undefined) options.progress.note(`note: ${engine.warning}`);
  return engine;
}
