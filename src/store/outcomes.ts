import type { AttackName } from '../attacks/attack.js';
import type { AttackOutcome } from '../metrics/evaluation.js';
import type { Parts } from './parts.js';

/** Keeps finished attacks, so that an interrupted evaluation can continue after them. */
export interface OutcomeStore {
  read(attack: AttackName): AttackOutcome | undefined;
  write(attack: AttackName, outcome: AttackOutcome): void;
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
  };
}

interface StoredOutcome {
  linf: string;
  l2?: string;
  pass?: string;
  aligned?: string;
  seconds: AttackOutcome['seconds'];
}

// Unlike numbers in JSON, base64 keeps NaN and every bit.
function encode({ linf, l2, pass, aligned, seconds }: AttackOutcome): StoredOutcome {
  const text = (array: Float32Array | Uint8Array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
  return {
    linf: text(linf),
    l2: l2 && text(l2),
    pass: pass && text(pass),
    aligned: aligned && text(aligned),
    seconds,
  };
}

function decode({ linf, l2, pass, aligned, seconds }: StoredOutcome): AttackOutcome {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
  const floats = (text: string) => new Float32Array(bytes(text).buffer);
  return {
    linf: floats(linf),
    l2: l2 === undefined ? undefined : floats(l2),
    pass: pass === undefined ? undefined : floats(pass),
    aligned: aligned === undefined ? undefined : bytes(aligned),
    seconds,
  };
}
