import { ATTACKS } from '../attacks/attacks.js';
import { attackersOf, type Attacker, type Robust } from '../metrics/robustness.js';
import { meanOf } from '../metrics/statistics.js';
import type { Entry } from '../store/entry.js';
import { drawGrid, NOTHING, numberCell, type Grid, type GridCell } from './grid.js';

/** Accuracy by attack and budget, means over seeds, for a console; undefined if nothing was measured. */
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

/** The mean over seeds; ∞ if any seed has ∞. */
function medianCell(each: readonly Robust[]): GridCell {
  const medians = each.flatMap(({ medianLinf }) => medianLinf ?? []);
  if (medians.length < each.length) return { text: '∞' };
  const median = meanOf(medians);
  return { text: String(Number(median.toFixed(1))), value: median };
}

function attackerTitle(attack: Attacker): string {
  return attack === 'worst' ? 'worst of all, per image' : ATTACKS[attack].title;
}
