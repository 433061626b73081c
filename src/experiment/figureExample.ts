import type { AttackName } from '../attacks/attack.js';
import type { ImageSize } from '../data/shapes.js';
import type { DataName } from '../data/sources.js';
import type { RunOptions } from './runOptions.js';

/** A test image with adversarial examples of it for each of several networks. */
export interface FigureExample {
  data: DataName;
  size: ImageSize;
  /** The names of the classes, if they are known. */
  classes?: readonly string[];
  /** Position in the test set. */
  index: number;
  label: number;
  /** height × width × channels. */
  original: Uint8Array;
  /**
   * For each network, in the order given, that of the attack; and of HC1's networks, those that flatters have another
   * attack's as well.
   */
  adversarials: AdversarialImage[];
}

export interface AdversarialImage {
  network: string;
  /** `BANG` or `regular`; empty if the weights' file does not say. */
  training: string;
  attack: AttackName;
  predicted: number;
  /** In grey levels. */
  linf: number;
  pass: number;
  image: Uint8Array;
}

/** How to make a figure of adversarial examples; other figures have no options. */
export interface FigureOptions extends Pick<
  RunOptions,
  'dataDir' | 'threads' | 'progress' | 'signal'
> {
  attack: AttackName;
  /** The attack that is shown beside HC1, for networks on which it needs a smaller L∞. */
  beside?: AttackName | 'none';
}

/** The attack to show beside another one; undefined if there is none. */
export function besideOf({
  attack,
  beside = 'fgs-unmasked',
}: FigureOptions): AttackName | undefined {
  return attack === 'hc1' && beside !== 'none' && beside !== attack ? beside : undefined;
}

/** Without the examples of the attack beside HC1 on networks that HC1 does not flatter. */
export function whereFlattered(
  examples: readonly FigureExample[],
  beside: AttackName | undefined,
): FigureExample[] {
  const flattered = new Set(
    examples.flatMap(({ data, adversarials }) =>
      adversarials
        .filter(({ network, attack, linf }) =>
          adversarials.some(
            (hc1) =>
              attack === beside &&
              hc1.attack !== beside &&
              hc1.network === network &&
              linf < hc1.linf,
          ),
        )
        .map(({ network }) => JSON.stringify([data, network])),
    ),
  );
  return examples.map((example) => ({
    ...example,
    adversarials: example.adversarials.filter(
      ({ attack, network }) =>
        attack !== beside || flattered.has(JSON.stringify([example.data, network])),
    ),
  }));
}
