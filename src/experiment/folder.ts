import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify } from 'yaml';
import type { AttackName } from '../attacks/attack.js';
import { messageOf, UserError } from '../errors.js';
import { reason, writeFileAtomic } from '../files.js';
import type { AttackOutcome, OutcomeStore } from './evaluate.js';

/** The files of a result folder. */
export const FILES = {
  identity: 'config.yaml',
  training: 'training.csv',
  checkpoint: 'checkpoint.safetensors',
  weights: 'weights.safetensors',
  perImage: 'per-image.csv',
  table: 'table.csv',
  result: 'result.json',
  /** Attacks that are finished while the evaluation is not. */
  stages: 'stages',
} as const;

/** What an experiment is: plain data that says all its figures depend on. */
export type Identity = Record<string, unknown>;

/**
 * A folder that holds one experiment and nothing else, so that no figure of one is ever taken for
 * another's. Each file in it is whole or absent.
 */
export interface ResultFolder {
  path: string;
  file(name: keyof typeof FILES): string;
  has(name: keyof typeof FILES): boolean;
  write(name: keyof typeof FILES, content: string | Uint8Array): void;
  remove(name: keyof typeof FILES): void;
  /** The text of a finished `result.json`. */
  result(): string | undefined;
  stages(key: Identity): OutcomeStore;
}

/**
 * Opens or makes the folder of an experiment.
 *
 * @param ignored keys of the identity on which no figure depends
 * @param force empties a folder that holds something of an experiment
 * @throws UserError if it holds another experiment, or cannot be written
 */
export function openFolder(
  folder: string,
  identity: Identity,
  { ignored = [], force = false }: { ignored?: string[]; force?: boolean } = {},
): ResultFolder {
  const file = (name: keyof typeof FILES): string => path.join(folder, FILES[name]);
  if (force) for (const name of Object.values(FILES)) remove(path.join(folder, name));
  else refuseOther(folder, file('identity'), identity, ignored);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new UserError(`cannot make the folder ${folder}: ${reason(error)}`);
  }
  if (!existsSync(file('identity'))) writeFileAtomic(file('identity'), stringify(identity));
  return {
    path: folder,
    file,
    has: (name) => existsSync(file(name)),
    write(name, content) {
      writeFileAtomic(file(name), content);
    },
    remove(name) {
      remove(file(name));
    },
    result: () => (existsSync(file('result')) ? readFileSync(file('result'), 'utf8') : undefined),
    stages: (key) => outcomeStore(file('stages'), key),
  };
}

function remove(file: string): void {
  rmSync(file, { recursive: true, force: true });
}

function refuseOther(folder: string, file: string, identity: Identity, ignored: string[]): void {
  let found: Identity;
  try {
    found = parse(readFileSync(file, 'utf8')) as Identity;
  } catch (error) {
    if (!existsSync(file)) return;
    throw new UserError(
      `${file} cannot be read (${messageOf(error)}): choose another folder with --out, or --force to start over`,
    );
  }
  const plain = JSON.parse(JSON.stringify(identity)) as Identity;
  const differences = differing(found, plain).filter((key) => !ignored.includes(key.split('.')[0]));
  if (differences.length === 0) return;
  const shown = differences.slice(0, 3).map((key) => {
    const [was, is] = [valueAt(found, key), valueAt(plain, key)];
    return `${key} was ${was}, is ${is}`;
  });
  const more = differences.length > 3 ? ` and ${differences.length - 3} more` : '';
  throw new UserError(
    `${folder} holds another experiment (${shown.join('; ')}${more}): choose another folder with --out, or --force to start over`,
  );
}

/** The key paths at which two values differ. */
function differing(a: unknown, b: unknown, at = ''): string[] {
  if (isDeepStrictEqual(a, b)) return [];
  if (!isMapping(a) || !isMapping(b)) return [at];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => differing(a[key], b[key], at === '' ? key : `${at}.${key}`));
}

function valueAt(value: unknown, at: string): string {
  const found = at
    .split('.')
    .reduce<unknown>((inner, key) => (isMapping(inner) ? inner[key] : undefined), value);
  return found === undefined ? 'absent' : JSON.stringify(found);
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Finished attacks as JSON files, each with what it depends on; others are as if not there. */
function outcomeStore(folder: string, key: Identity): OutcomeStore {
  const digest = createHash('sha256').update(JSON.stringify(key)).digest('hex');
  const file = (attack: AttackName) => path.join(folder, `${attack}.json`);
  return {
    read(attack) {
      try {
        const text = readFileSync(file(attack), 'utf8');
        const stage = JSON.parse(text) as { digest: string; outcome: StoredOutcome };
        return stage.digest === digest ? decode(stage.outcome) : undefined;
      } catch {
        return undefined;
      }
    },
    write(attack, outcome) {
      writeFileAtomic(file(attack), JSON.stringify({ digest, outcome: encode(outcome) }));
    },
  };
}

interface StoredOutcome {
  linf: string;
  pass?: string;
  aligned?: string;
  seconds: AttackOutcome['seconds'];
}

// Base64 keeps NaN and every bit, which JSON's numbers do not.
function encode({ linf, pass, aligned, seconds }: AttackOutcome): StoredOutcome {
  const text = (array: Float32Array | Uint8Array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
  return {
    linf: text(linf),
    ...(pass && { pass: text(pass) }),
    ...(aligned && { aligned: text(aligned) }),
    seconds,
  };
}

function decode({ linf, pass, aligned, seconds }: StoredOutcome): AttackOutcome {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
  const floats = (text: string) => new Float32Array(bytes(text).buffer);
  return {
    linf: floats(linf),
    ...(pass !== undefined && { pass: floats(pass) }),
    ...(aligned !== undefined && { aligned: bytes(aligned) }),
    seconds,
  };
}
