import { stringify } from 'csv-stringify/sync';
import { ATTACK_NAMES, STEP_ATTACKS, type AttackName } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/run.js';
import type { DataName } from '../data/sources.js';
import type { Evaluation } from '../experiment/evaluate.js';
import { meanOf } from './statistics.js';
import type { Entry } from '../store/entry.js';
import { drawGrid, NOTHING, numberCell, type Grid, type GridCell } from '../report/grid.js';

/** An attack, or for each image that which needs the smallest L∞. */
export type Attacker = AttackName | 'worst';

/** How accuracy falls as a pixel may change by more; only of evaluations with an attack in steps. */
export interface Robustness {
  /** L∞ in pixel units, ascending. */
  budgets: number[];
  attacks: Partial<Record<Attacker, Robust>>;
}

export interface Robust {
  /** Percent of all images that are classified correctly and not fooled within each budget. */
  accuracy: number[];
  /** Median L∞ over the correctly classified images; null if half of them or more are not fooled. */
  medianLinf: number | null;
}

/** MNIST's last is 0.3 of the range, CIFAR-10's 8 of 255 is between: what the literature compares at. */
export const BUDGETS: Record<DataName, number[]> = {
  mnist: [8, 16, 32, 64, 77],
  cifar10: [1, 2, 4, 8, 16],
};

/** Whether an evaluation says more of robustness than the paper's attacks do. */
export function tellsRobustness({ attacks }: Evaluation): boolean {
  return STEP_ATTACKS.some((name) => attacks.has(name));
}

export function robustnessOf(evaluation: Evaluation, budgets: readonly number[]): Robustness {
  const { images, labels, predicted, attacks } = evaluation;
  const right = [...predicted.keys()].filter((i) => predicted[i] === labels[i]);
  const judge = (linf: (image: number) => number): Robust => {
    const found = Float32Array.from(right, linf).sort();
    const half = found.at(Math.floor(found.length / 2)) ?? Infinity;
    const accuracy = budgets.map((budget) => {
      const standing = found.filter((value) => value > budget).length;
      return (100 * standing) / images;
    });
    return { accuracy, medianLinf: half === Infinity ? null : half };
  };
  const each = [...attacks].map(([name, { linf }]): [AttackName, (image: number) => number] => [
    name,
    (image) => (Number.isNaN(linf[image]) ? Infinity : linf[image]),
  ]);
  const worst = (image: number): number => Math.min(...each.map(([, linf]) => linf(image)));
  return {
    budgets: [...budgets],
    attacks: {
      ...Object.fromEntries(each.map(([name, linf]) => [name, judge(linf)])),
      worst: judge(worst),
    },
  };
}

/** `robustness.csv`: a line for each network, attack and budget; the last attack is `worst`. */
export function robustnessCsv(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ name, published, rows, seeds }) =>
    rows.flatMap(({ images, accuracy, robustness }, i) =>
      attackersOf(robustness).flatMap((attack) => {
        const { accuracy: standing, medianLinf } = robustness!.attacks[attack]!;
        return robustness!.budgets.map((budget, b) => ({
          name,
          table: published?.table ?? '',
          row: published?.id ?? '',
          seed: seeds[i] ?? '',
          images,
          accuracy: rounded(accuracy),
          attack,
          median_linf: medianLinf ?? '',
          budget,
          robust_accuracy: rounded(standing[b]),
        }));
      }),
    ),
  );
  return stringify(lines, { header: true });
}

function rounded(value: number): number {
  return Number(value.toFixed(4));
}

/** The table for a console: accuracy by attack and budget, means over seeds; undefined if nothing
 *  was measured. */
export function robustnessTable(entry: Entry): string | undefined {
  const grid = robustnessGrid(entry);
  return grid && drawGrid(grid);
}

/** The same before it is drawn. */
export function robustnessGrid({ rows }: Entry): Grid | undefined {
  const known = rows.flatMap(({ robustness }) => robustness ?? []);
  if (known.length === 0) return undefined;
  const [{ budgets }] = known;
  const clean = meanOf(rows.map(({ accuracy }) => accuracy));
  return {
    columns: [
      { title: ['accuracy %'], align: 'left' },
      { title: ['L∞ 0'] },
      ...budgets.map((budget) => ({ title: [`≤ ${budget}`] })),
      { title: ['median L∞'] },
    ],
    rows: attackersOf(known[0]).map((attack) => {
      const each = known.flatMap(({ attacks }) => attacks[attack] ?? []);
      return [
        { text: attackerTitle(attack) },
        numberCell(clean, 2),
        ...budgets.map((_, b) => numberCell(meanOf(each.map(({ accuracy }) => accuracy[b])), 2)),
        medianCell(each),
      ];
    }),
  };
}

/**
 * Networks beside each other, means over seeds: the accuracy that FGS leaves at the largest L∞, and that which
 * is left at each where every image meets the attack that needs least. A table for each list of budgets;
 * none where nothing was measured.
 */
export function robustnessComparisons(entries: readonly Entry[]): Grid[] {
  const known = entries.flatMap((entry) => {
    const measured = entry.rows.flatMap(({ robustness }) => robustness ?? []);
    return measured.length === 0 ? [] : [{ entry, measured }];
  });
  const all = [...new Set(known.map(({ measured: [{ budgets }] }) => budgets.join(' ')))];
  return all.map((of) => {
    const budgets = of.split(' ').map(Number);
    const same = known.filter(({ measured: [one] }) => one.budgets.join(' ') === of);
    return {
      columns: [
        { title: ['network'], align: 'left' },
        { title: ['clean', 'L∞ 0'] },
        { title: ['FGS', `≤ ${budgets.at(-1)}`] },
        ...budgets.map((budget) => ({ title: ['worst', `≤ ${budget}`] })),
        { title: ['worst', 'median'] },
      ],
      rows: same.map(({ entry: { name, labels, rows }, measured }) => {
        const left = (attack: Attacker, b: number): GridCell => {
          const each = measured.flatMap(({ attacks }) => attacks[attack]?.accuracy.at(b) ?? []);
          return each.length === 0 ? NOTHING : numberCell(meanOf(each), 2);
        };
        const seeds = rows.length > 1 ? [`${rows.length} seeds`] : [];
        return [
          { text: [name, ...labels, ...seeds].join('\n') },
          numberCell(meanOf(rows.map(({ accuracy }) => accuracy)), 2),
          left('fgs', -1),
          ...budgets.map((_, b) => left('worst', b)),
          medianCell(measured.flatMap(({ attacks }) => attacks.worst ?? [])),
        ];
      }),
    };
  });
}

/** The mean over seeds; ∞ if it is that of one. */
function medianCell(each: readonly Robust[]): GridCell {
  const medians = each.flatMap(({ medianLinf }) => medianLinf ?? []);
  if (medians.length < each.length) return { text: '∞' };
  const median = meanOf(medians);
  return { text: String(Number(median.toFixed(1))), value: median };
}

function attackersOf(robustness: Robustness | undefined): Attacker[] {
  const all = [...ATTACK_NAMES, 'worst'] as const;
  return all.filter((name) => robustness?.attacks[name]);
}

function attackerTitle(attack: Attacker): string {
  return attack === 'worst' ? 'worst of all, per image' : ATTACKS[attack].title;
}
