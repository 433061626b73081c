import type { AttackName, Norm, AttackPart } from '../attacks/attack.js';
import type { AdversarialExamples, AttackOutcome, BudgetOutcome } from '../metrics/evaluation.js';
import type { Parts } from './parts.js';

/** Keeps finished attacks and budgets, so that an interrupted evaluation can continue after them. */
export interface OutcomeStore {
  read(attack: AttackName): AttackOutcome | undefined;
  write(attack: AttackName, outcome: AttackOutcome): void;
  readBudget(norm: Norm, budget: number): BudgetOutcome | undefined;
  writeBudget(outcome: BudgetOutcome): void;
  /** The flips, of all images or of none. */
  readNoise(): Int32Array | undefined;
  writeNoise(flips: Int32Array): void;
}

/** A store of finished attacks in the parts of a result. */
export function outcomesIn(parts: Parts): OutcomeStore {
  return {
    read(attack) {
      const stored = parts.read(attack);
      return stored === undefined ? undefined : decode(stored as StoredOutcome);
    },
    write(attack, outcome) {
      parts.write(attack, encode(outcome));
    },
    readBudget(norm, budget) {
      const stored = parts.read(partOf({ norm, budget })) as StoredBudget | undefined;
      if (!stored) return undefined;
      const by = stored.by.map((name) => name ?? undefined);
      const { size, examples, seconds } = stored;
      return { norm, budget, by, size: floats(size), examples: decodeExamples(examples), seconds };
    },
    writeBudget(outcome) {
      const { by, size, examples, seconds } = outcome;
      const stored: StoredBudget = {
        by: by.map((name) => name ?? null),
        size: text(size),
        examples: examples && encodeExamples(examples),
        seconds,
      };
      parts.write(partOf(outcome), stored);
    },
    readNoise() {
      const stored = parts.read('noise') as number[] | undefined;
      return stored && Int32Array.from(stored);
    },
    writeNoise(flips) {
      parts.write('noise', [...flips]);
    },
  };
}

function partOf({ norm, budget }: Pick<BudgetOutcome, 'norm' | 'budget'>): string {
  return `auto-${norm}-${budget}`;
}

interface StoredBudget {
  by: (AttackPart | null)[];
  size: string;
  examples?: StoredExamples | undefined;
  seconds: number;
}

interface StoredExamples {
  positions: string;
  images: string;
}

interface StoredOutcome {
  linf: string;
  l2?: string;
  pass?: string;
  aligned?: string;
  examples?: StoredExamples | undefined;
  seconds: AttackOutcome['seconds'];
}

// Unlike numbers in JSON, base64 keeps NaN and every bit.
function encode({ linf, l2, pass, aligned, examples, seconds }: AttackOutcome): StoredOutcome {
  return {
    linf: text(linf),
    l2: l2 && text(l2),
    pass: pass && text(pass),
    aligned: aligned && text(aligned),
    examples: examples && encodeExamples(examples),
    seconds,
  };
}

function decode({ linf, l2, pass, aligned, examples, seconds }: StoredOutcome): AttackOutcome {
  return {
    linf: floats(linf),
    l2: l2 === undefined ? undefined : floats(l2),
    pass: pass === undefined ? undefined : floats(pass),
    aligned: aligned === undefined ? undefined : bytes(aligned),
    examples: decodeExamples(examples),
    seconds,
  };
}

function encodeExamples({ positions, images }: AdversarialExamples): StoredExamples {
  return { positions: text(positions), images: text(images) };
}

function decodeExamples(stored: StoredExamples | undefined): AdversarialExamples | undefined {
  if (!stored) return undefined;
  const positions = new Uint32Array(bytes(stored.positions).buffer);
  return { positions, images: bytes(stored.images) };
}

function text(array: Float32Array | Uint32Array | Uint8Array): string {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
}

function bytes(of: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(of, 'base64'));
}

function floats(of: string): Float32Array {
  return new Float32Array(bytes(of).buffer);
}
