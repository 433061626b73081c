import {
  AUTO,
  type AttackName,
  type Norm,
  NORM_TITLES,
  NORMS,
  ATTACK_PARTS,
  type AttackPart,
} from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import type { AtBudget, Row } from '../metrics/row.js';
import { attackersOf, type Attacker, medianLinf, type Robustness } from '../metrics/robustness.js';
import { meanOf } from '../base/sums.js';
import type { Entry } from '../store/entry.js';
import { countCell, NOTHING, numberCell, type Grid, type GridCell } from './grid.js';

/**
 * Accuracy by attack and budget, means over seeds. Undefined if nothing was measured, or within budgets only, of which
 * `atBudgetsGrids` tells all.
 */
export function robustnessGrid({ rows }: Entry): Grid | undefined {
  const known = rows.flatMap(({ robustness }) => robustness ?? []);
  if (known.length === 0) return undefined;
  if (attackersOf(known[0]).every((attack) => attack === AUTO || attack === 'worst')) {
    return undefined;
  }
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
        medianCell(known, attack),
      ];
    }),
  };
}

/** Accuracy within the budgets of one norm, and who fooled the images. */
export interface AtBudgetsGrid {
  norm: Norm;
  grid: Grid;
}

/**
 * What the strongest attacks leave within budgets: for each norm a table of the accuracy, of the number of images left
 * and of those that each attack fooled (`AtBudget`); means over seeds.
 */
export function atBudgetsGrids({ rows }: Entry): AtBudgetsGrid[] {
  return NORMS.flatMap((norm): AtBudgetsGrid[] => {
    const measured = rows.flatMap((row) => {
      const of = withinOf(row, norm);
      return of.length === 0 ? [] : [{ row, of }];
    });
    if (measured.length === 0) return [];
    const known = measured.filter(({ of }) => listOf(of) === listOf(measured[0].of));
    const budgets = known[0].of.map(({ budget }) => budget);
    const count = (value: number): GridCell =>
      known.length === 1 ? countCell(value) : numberCell(value, 1);
    const cells = (of: (one: AtBudget) => number): number[] =>
      budgets.map((_, b) => meanOf(known.map(({ of: all }) => of(all[b]))));
    const clean = known.map(({ row }) => row);
    const takers = ATTACK_PARTS.filter((name) =>
      known.some(({ of }) => of.some(({ taken }) => taken[name])),
    );
    const grid = {
      columns: [
        { title: [''], align: 'left' as const },
        { title: [`${NORM_TITLES[norm]} 0`] },
        ...budgets.map((budget) => ({ title: [`≤ ${budgetText(budget)}`] })),
      ],
      rows: [
        [
          { text: 'accuracy %' },
          numberCell(meanOf(clean.map(({ accuracy }) => accuracy)), 2),
          ...cells(({ accuracy }) => accuracy).map((value) => numberCell(value, 2)),
        ],
        [
          { text: 'images left' },
          count(meanOf(clean.map(({ correct }) => correct))),
          ...cells(({ left }) => left).map(count),
        ],
        ...takers.map((name) => [
          { text: `fooled by ${takerTitle(name)}` },
          NOTHING,
          ...cells(({ taken }) => taken[name] ?? 0).map(count),
        ]),
      ],
    };
    return [{ norm, grid }];
  });
}

/** Without more decimals than tell budgets apart. */
function budgetText(budget: number): string {
  return String(Number(budget.toFixed(2)));
}

const PARTS_OF_APGD: Record<Exclude<AttackPart, AttackName>, string> = {
  'apgd-log-odds': 'APGD, log-odds',
  'apgd-targeted': 'APGD, targeted',
};

function takerTitle(name: AttackPart): string {
  return name in PARTS_OF_APGD
    ? PARTS_OF_APGD[name as keyof typeof PARTS_OF_APGD]
    : ATTACKS[name as AttackName].title;
}

/**
 * Compares networks by what the strongest attacks leave within budgets in L2, with means over seeds: a table for each
 * list of budgets.
 */
export function l2Comparisons(entries: readonly Entry[]): Grid[] {
  const known = entries.flatMap((entry) => {
    const all = entry.rows.map((row) => withinOf(row, 'l2')).filter(({ length }) => length > 0);
    const measured = all.filter((of) => listOf(of) === listOf(all[0]));
    return measured.length === 0 ? [] : [{ entry, measured }];
  });
  const all = [...new Set(known.map(({ measured: [one] }) => listOf(one)))];
  return all.map((list) => ({
    columns: [
      { title: ['network'], align: 'left' as const },
      { title: ['clean', 'L2 0'] },
      ...list.split(' ').map((budget) => ({ title: ['auto', `≤ ${budgetText(Number(budget))}`] })),
    ],
    rows: known
      .filter(({ measured: [one] }) => listOf(one) === list)
      .map(({ entry: { name, labels, rows }, measured }) => [
        { text: [name, ...labels, ...seedsText(rows)].join('\n') },
        numberCell(meanOf(rows.map(({ accuracy }) => accuracy)), 2),
        ...measured[0].map((_, b) => numberCell(meanOf(measured.map((of) => of[b].accuracy)), 2)),
      ]),
  }));
}

function withinOf({ atBudgets = [] }: Row, norm: Norm): AtBudget[] {
  return atBudgets.filter((one) => one.norm === norm);
}

/** The budgets, which tell lists of different ones apart. */
function listOf(of: readonly AtBudget[]): string {
  return of.map(({ budget }) => budget).join(' ');
}

function seedsText(rows: readonly unknown[]): string[] {
  return rows.length > 1 ? [`${rows.length} seeds`] : [];
}

/**
 * Compares networks, with means over seeds: the accuracy under FGS at the largest L∞, and at each L∞ under the
 * attack that needs the smallest change on each image. A table for each list of budgets; none if nothing was
 * measured.
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
    const hasAuto = ({ robustness }: Row): boolean => robustness?.attacks[AUTO] !== undefined;
    const someHaveAuto = same.some(({ entry }) => entry.rows.some(hasAuto));
    const isWeaker = (row: Row): boolean => someHaveAuto && !hasAuto(row);
    const medians = same.map(({ measured }) => medianCell(measured, 'worst'));
    const hasMedians = medians.some((cell) => cell !== NOTHING);
    return {
      columns: [
        { title: ['network'], align: 'left' },
        { title: ['clean', 'L∞ 0'] },
        { title: ['FGS', `≤ ${budgets.at(-1)}`] },
        ...budgets.map((budget) => ({ title: ['worst', `≤ ${budget}`] })),
        ...(hasMedians ? [{ title: ['worst', 'median'] }] : []),
      ],
      rows: same.map(({ entry: { name, labels, rows }, measured }, i) => {
        const left = (attack: Attacker, b: number): GridCell => {
          const each = measured.flatMap(({ attacks }) => attacks[attack]?.accuracy.at(b) ?? []);
          return each.length === 0 ? NOTHING : numberCell(meanOf(each), 2);
        };
        return [
          {
            text: [
              name,
              ...labels,
              ...seedsText(rows),
              ...(isWeaker(rows[0]) ? ['without auto'] : []),
            ].join('\n'),
          },
          numberCell(meanOf(rows.map(({ accuracy }) => accuracy)), 2),
          left('fgs', -1),
          ...budgets.map((_, b) => left('worst', b)),
          ...(hasMedians ? [medians[i]] : []),
        ];
      }),
    };
  });
}

/** What `noisyCopiesGrid` is of. */
export const NOISE_TITLE =
  'Gaussian noise on correctly classified images: copies that are misclassified';

/** How many noisy copies are misclassified, means over seeds; undefined if nothing was measured. */
export function noisyCopiesGrid(entries: readonly Entry[]): Grid | undefined {
  const known = entries.flatMap(({ name, labels, rows }) => {
    const of = rows.flatMap(({ noise }) => noise ?? []);
    const title = [name, ...labels, ...seedsText(of)].join('\n');
    return of.length > 0 ? [{ title, of }] : [];
  });
  if (known.length === 0) return undefined;
  return {
    columns: [
      { title: ['network'], align: 'left' },
      { title: ['σ'] },
      { title: ['copies', 'of an image'] },
      { title: ['misclassified', '%'] },
      { title: ['standard error', 'over images'] },
    ],
    rows: known.map(({ title, of }) => {
      const [{ sigma, copies }] = of;
      const rates = of.flatMap(({ rate }) => rate ?? []);
      const errors = of.flatMap(({ overImages }) => overImages ?? []);
      return [
        { text: title },
        numberCell(sigma, Number.isInteger(sigma) ? 0 : 1),
        countCell(copies),
        rates.length === 0 ? NOTHING : numberCell(meanOf(rates), 2),
        errors.length === 0 ? NOTHING : numberCell(meanOf(errors), 2),
      ];
    }),
  };
}

/** The mean over seeds; ∞ if any seed has ∞, nothing if one has not measured it. */
function medianCell(all: readonly Robustness[], attacker: Attacker): GridCell {
  const each = all.map((one) => medianLinf(one, attacker));
  if (each.includes(undefined)) return NOTHING;
  const medians = each.flatMap((median) => median ?? []);
  if (medians.length < each.length) return { text: '∞' };
  const median = meanOf(medians);
  return { text: String(Number(median.toFixed(1))), value: median };
}

function attackerTitle(attack: Attacker): string {
  if (attack === 'worst') return 'worst of all, per image';
  return attack === AUTO ? 'auto, within the budgets' : ATTACKS[attack].title;
}
