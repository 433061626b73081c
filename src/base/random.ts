/** Pseudo-random numbers determined by a seed: the same on every machine and with any number of threads. */
export interface Random {
  /** 32 random bits, as an unsigned integer. */
  bits(): number;
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Normal, mean 0, standard deviation 1. */
  gaussian(): number;
}

/**
 * A generator for one purpose. `stream` and `index` (such as the iteration) separate the uses of one
 * seed, so that each can be regenerated independently when a run is resumed.
 *
 * xoshiro128** by Blackman and Vigna; a mixing hash of seed, stream and index initializes its state.
 */
export function makeRandom(seed: number, stream: string, index = 0): Random {
  let mixed = seed >>> 0;
  const mix = (value: number): number => {
    mixed = (mixed + 0x9e3779b9 + value) >>> 0;
    let z = mixed;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (mixed = (z ^ (z >>> 16)) >>> 0);
  };
  for (const character of stream) mix(character.codePointAt(0)!);
  mix(index >>> 0);
  mix(Math.floor(index / 2 ** 32));
  let a = mix(1);
  let b = mix(2);
  let c = mix(3);
  let d = mix(4) | 1; // the state must not be all zeros

  const bits = (): number => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const uniform = (): number => bits() / 2 ** 32;
  let spare: number | undefined;
  const gaussian = (): number => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    // Box–Muller transform; 1 − u is never 0.
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return { bits, uniform, gaussian };
}

/** 0 … count − 1 in random order. */
export function permutation(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
