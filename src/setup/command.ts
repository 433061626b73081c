import { spawn } from 'node:child_process';
import { Interrupted } from '../base/errors.js';

/** A program could not be started, or failed. */
export class CommandFailed extends Error {
  constructor(
    readonly command: string,
    /** Its standard output and standard error. */
    readonly output: string,
    /** The signal that killed it, if any. */
    readonly signal: NodeJS.Signals | null = null,
  ) {
    super(`${command} failed: ${lastLine(output)}`);
  }
}

export interface CommandOptions {
  env?: Record<string, string>;
  /** Called with the last line of each piece of output. */
  said?: (line: string) => void;
  signal: AbortSignal;
  /** What is being set up, for the message if it is stopped. */
  engine?: string;
}

/**
 * Runs a program to its end and returns its standard output.
 *
 * @throws CommandFailed if it cannot be started or fails; Interrupted if `signal` aborts, after the program
 *   has ended
 */
export function runCommand(
  command: string,
  args: string[],
  { env = {}, said, signal, engine = 'tensorflow' }: CommandOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const stop = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    let [output, standard] = ['', ''];
    const hear = (text: string): void => {
      output += text;
      const line = lastLine(text);
      if (line !== '') said?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      standard += text;
      hear(text);
    });
    child.stderr.setEncoding('utf8').on('data', hear);
    child.on('error', (error) => {
      signal.removeEventListener('abort', stop);
      reject(new CommandFailed(command, error.message));
    });
    child.on('close', (code, killer) => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) reject(new Interrupted(`setting up ${engine} was stopped`));
      else if (code === 0) resolve(standard);
      else reject(new CommandFailed(command, output, killer));
    });
  });
}

/** The last line that is not blank. */
export function lastLine(text: string): string {
  return text
    .trim()
    .split(/[\r\n]+/)
    .at(-1)!
    .trim();
}
