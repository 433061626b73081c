import type { TablePart } from '../../../store/collect.js';
import { entryTitle } from '../../../store/entry.js';
import { blankSentence, maskingGrid } from '../../masking.js';
import { NORM_TITLES } from '../../../attacks/attack.js';
import { concludeMasking, conclusionText } from '../../../metrics/masking.js';
import { atBudgetsGrids, robustnessGrid } from '../../robustness.js';
import type { Grid } from '../../grid.js';
import { comparisons, noiseComparisons, type TitledGrid } from '../../tables.js';
import { type Html, html } from '../html.js';
import { gridTable } from '../htmlTables.js';
import { prose } from '../prose.js';
import { folded, idsOf, type Section } from '../section.js';

export function robustnessSection(parts: readonly TablePart[]): Section | undefined {
  const known = parts
    .flatMap(({ entries }) => entries)
    .flatMap((entry) => {
      const grid = robustnessGrid(entry);
      const within = atBudgetsGrids(entry);
      return grid || within.length > 0 ? [{ entry, grid, within }] : [];
    });
  const noise = comparisonTables('under-noise', noiseComparisons(parts));
  if (known.length === 0) {
    return noise.length === 0 ? undefined : { id: 'robustness', title: 'Noise', body: noise };
  }
  const titles = known.map(({ entry }) => entryTitle(entry));
  const ids = idsOf('robustness', titles);
  const each = known.map(({ entry, grid, within }, i) => {
    const [id, title] = [ids[i], titles[i]];
    const masking = entry.rows.flatMap((row, n) => {
      if (!row.masking) return [];
      const of = entry.rows.length > 1 ? `${title}, seed ${entry.seeds[n]}` : title;
      return [
        gridTable(
          `${id}_masking-${n}`,
          html`Masking in ${of}: ${blankSentence(row.masking)}. Numbers of images.`,
          maskingGrid(row.masking),
        ),
        html`<p class="conclusion">${prose(conclusionText(concludeMasking(row.masking)))}</p>`,
      ];
    });
    const tables = [
      grid &&
        gridTable(
          `${id}_accuracy`,
          html`Accuracy of ${title} in percent, when each pixel may change by so much (L∞ in grey
          levels).`,
          grid,
        ),
      within.map((one) =>
        gridTable(
          `${id}_within-${one.norm}`,
          html`What the strongest attacks, one after the other, leave of ${title} within budgets
          (${NORM_TITLES[one.norm]} in grey levels), and the numbers of images that each fooled.`,
          one.grid,
        ),
      ),
      masking,
    ];
    if (known.length === 1) return [html`<h3>${title}</h3>`, tables];
    return folded(`robustness ${title}`, html`<b>${title}</b>: all attacks, masking`, tables);
  });
  // For a single network this would repeat the table below.
  const beside = known.length === 1 ? [] : comparisons(parts);
  const body = [
    comparisonTables('compared', beside),
    known.length === 1
      ? each
      : folded('robustness', html`<b>Each network</b>: all attacks, and masking`, each),
    noise,
  ];
  return { id: 'robustness', title: 'Robust accuracy and masking', body };
}

function comparisonTables(kind: string, grids: readonly TitledGrid[]): Html[] {
  const ids = idsOf(
    kind,
    grids.map(({ title }) => title),
  );
  return grids.map(({ title, grid }, i) =>
    gridTable(
      ids[i],
      html`${prose(title)}.${hasWorst(grid) && ' “worst” is the attack that needs the smallest change on each image.'}`,
      grid,
    ),
  );
}

function hasWorst({ columns }: Grid): boolean {
  return columns.some(({ title: [first] }) => first === 'worst');
}
