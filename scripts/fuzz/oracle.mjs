// What must hold whatever the input: work succeeds or is refused in words, and no file changes that was there.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ExperimentError, Interrupted, UserError } from '#bang/base/errors.js';

/** The program did what it must not do; `input` is what it was given. */
export class Fault extends Error {
  constructor(message, input, cause) {
    super(message, { cause });
    this.input = input;
  }
}

/** What only a defect writes into a message or a result. */
const DEFECT =
  /\bundefined\b|\[object|is not a function|is not iterable|Cannot (read|convert|destructure)|Invalid array length|^\s+at .*:\d+|defect of the program/m;
const NO_NUMBER = /\bNaN\b|\bundefined\b|\[object/;
/** In characters; long names in an input make long messages. */
const MOST_MESSAGE = 20_000;

/** Does work that may be refused; returns whether it was done, and its value. */
export async function attempt(input, work) {
  try {
    return { taken: true, value: await work() };
  } catch (error) {
    const known = [UserError, ExperimentError, Interrupted].some((kind) => error instanceof kind);
    if (!known)
      throw error instanceof Fault ? error : new Fault(`not refused in words`, input, error);
    demandSentence(error.message, input);
    return { taken: false };
  }
}

function demandSentence(message, input) {
  const wrong =
    (message.trim() === '' && 'an empty message') ||
    (DEFECT.test(message) && 'a message of a defect') ||
    (/(?<![^\s.])([\w-]+): unknown key, did you mean \1\?/.test(message) &&
      'advice that is no help') ||
    (message.length > MOST_MESSAGE && `a message of ${message.length} characters`);
  if (wrong) throw new Fault(`${wrong}: ${message.slice(0, 500)}`, input);
}

/** The exit codes of the program, without 70 and 130: nothing here has a defect or is stopped. */
const CODES = [0, 1, 2];

/** Runs a command line in this process, and checks how it ends and what it writes. */
export async function runInside(args, input = args) {
  // Half of the targets need no commands, which take longer to load than a hundred of their inputs.
  const { main } = await import('#bang/cli/main.js');
  const written = { stdout: '', stderr: '' };
  const writes = ['stdout', 'stderr'].map((name) => [name, process[name].write]);
  for (const [name] of writes) {
    process[name].write = (text) => {
      written[name] += String(text);
      return true;
    };
  }
  let code;
  try {
    code = await main(args);
  } finally {
    for (const [name, write] of writes) process[name].write = write;
    process.exitCode = undefined;
  }
  demandGoodEnd({ code, ...written }, input);
  return { taken: code === 0, code, ...written };
}

/** @throws Fault if a command line did not end as one may */
export function demandGoodEnd({ code, stdout, stderr }, input) {
  const said = stderr.slice(-1500);
  if (!CODES.includes(code)) throw new Fault(`exit code ${code}: ${said}`, input);
  if (DEFECT.test(stderr)) throw new Fault(`exit code ${code} with a defect: ${said}`, input);
  if (code !== 0 && !/^bang: .|: FAILED|out of/m.test(stderr + stdout)) {
    throw new Fault(`exit code ${code} without a word: ${said}`, input);
  }
  if (NO_NUMBER.test(stdout)) {
    throw new Fault(`printed what is no number: ${NO_NUMBER.exec(stdout)[0]}`, input);
  }
  if (stderr.length > MOST_MESSAGE)
    throw new Fault(`${stderr.length} characters of messages`, input);
}

/** The content of all files below a folder, by path. */
export function contentsOf(folder) {
  return new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => path.join(parentPath, name))
      .map((file) => [file, readFileSync(file)]),
  );
}

/**
 * @returns whether all is as before, without a new file either
 * @throws Fault if one of the files is gone or another, unless `isOutput` says that it may be
 */
export function demandUnchanged(before, folder, input, isOutput = () => false) {
  const after = contentsOf(folder);
  let same = after.size === before.size;
  for (const [file, content] of before) {
    const found = after.get(file);
    if (isOutput(file)) {
      same &&= found?.equals(content) === true;
      continue;
    }
    if (!found) throw new Fault(`${path.relative(folder, file)} is lost`, input);
    if (!found.equals(content)) throw new Fault(`${path.relative(folder, file)} is changed`, input);
  }
  return same;
}
