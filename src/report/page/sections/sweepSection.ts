import { counted, printable } from '../../../base/text.js';
import { axisText, bestOf, pointsOf, robustnessAxis } from '../../../sweep/summary.js';
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
  const count = (state: (typeof cells)[number]['state']): number =>
    cells.filter((cell) => cell.state === state).length;
  const states = [
    `${count('done')} of ${cells.length} cells are done`,
    ...(count('failed') > 0 ? [`${count('failed')} failed`] : []),
    ...(count('stopped') > 0 ? [`${count('stopped')} were stopped early`] : []),
    ...(running ? ['a process is running'] : []),
  ];
  const failed = cells.filter(({ state }) => state === 'failed');
  const points = pointsOf(cells);
  const front = paretoLines(keys, cells);
  const trends = trendsOf(keys, cells);
  return {
    id,
    title,
    isNarrow: !isAside,
    foldedAs: isAside ? states.join(', ') : undefined,
    body: [
      html`<p>
        ${states.join(', ')}.
        ${bestOf(keys, cells).map((best) => prose(`${best[0].toUpperCase()}${best.slice(1)}. `))}<small
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
