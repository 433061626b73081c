import { capitalised, counted, printable } from '../../../base/text.js';
import {
  axisText,
  bestOf,
  pointsOf,
  progressText,
  robustnessAxis,
} from '../../../sweep/summary.js';
import { trendsOf } from '../../../sweep/trends.js';
import { paretoLines, pointGrid } from '../../pointGrid.js';
import { trendGrid, TRENDS } from '../../trends.js';
import type { FoundSweep } from '../contents.js';
import { html } from '../html.js';
import { gridTable } from '../htmlTables.js';
import { plotFigures } from '../plotFigures.js';
import type { Plot } from '../plots.js';
import { prose } from '../prose.js';
import { folded, list, type Section } from '../section.js';

export function sweepSection(
  id: string,
  title: string,
  { folder, name, keys, cells, running }: FoundSweep,
  plots: readonly Plot[] = [],
  isAside = false,
): Section {
  const progress = `${progressText(cells)}${running ? ', a process is running' : ''}`;
  const failed = cells.filter(({ state }) => state === 'failed');
  const points = pointsOf(cells);
  const front = paretoLines(keys, points);
  const trends = trendsOf(keys, points);
  return {
    id,
    title,
    isNarrow: !isAside,
    foldedAs: isAside ? progress : undefined,
    body: [
      html`<p>
        ${progress}. ${bestOf(keys, points).map((best) => prose(`${capitalised(best)}. `))}<small
          >${printable(folder)}</small
        >
      </p>`,
      plotFigures(name, plots),
      failed.length > 0 && [
        html`<h3>Failed</h3>`,
        list(failed.map(({ id: cell, error }) => html`<b>${cell}</b>: ${printable(error ?? '')}`)),
      ],
      front.length > 0 &&
        folded(
          `${id}_front`,
          html`<b>Pareto front, ${counted(front.length, 'point')}</b>, of accuracy and
            ${axisText(robustnessAxis(points))}`,
          html`${list(front.map(prose))}`,
        ),
      trends &&
        folded(
          `${id}_trends`,
          html`<b>The trend over each key</b>, in a table`,
          gridTable(`${id}_trends`, html`${TRENDS}`, trendGrid(trends)),
        ),
      folded(
        `${id}_points`,
        html`<b>All ${points.length} points</b>, in a table`,
        gridTable(
          `${id}_points`,
          html`The points of ${printable(name)}, means over seeds; the line without values is the
          reference.`,
          pointGrid(keys, points),
        ),
      ),
    ],
  };
}
