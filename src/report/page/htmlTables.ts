import { csvNumber } from '../../store/csv.js';
import { COLUMNS, type Line, linesOf } from '../lines.js';
import type { Entry } from '../../store/entry.js';
import type { Column, Grid, GridCell } from '../grid.js';
import { type Content, html, type Html } from './html.js';

/**
 * A table in a box, so that the table scrolls and not the page.
 *
 * @param id names the table, for links and for remembering how the reader sorted it
 * @param groups whether its bodies are sorted rather than its rows
 */
function tableOf(
  id: string,
  caption: Content,
  columns: readonly Column[],
  bodies: Content,
  groups: boolean,
): Html {
  const heads = columns.map(
    ({ title, align }) =>
      html`<th scope="col" ${align === 'left' && html` class="text"`}>
        <button type="button">${lines(title)}</button>
      </th>`,
  );
  return html`<div class="box" role="group" aria-labelledby="${id}-caption" tabindex="0">
    <table id="${id}" data-sort="${groups ? 'bodies' : 'rows'}">
      <caption id="${id}-caption">
        ${caption}
      </caption>
      <thead>
        <tr>
          ${heads}
        </tr>
      </thead>
      ${bodies}
    </table>
  </div>`;
}

function lines(title: readonly string[]): Content {
  return title.map((line, i) => (i === 0 ? line || 'what' : html`<br />${line}`));
}

/** A table like Tables 1 and 2: for each experiment our lines and the published one. */
export function entriesTable(id: string, caption: Content, entries: readonly Entry[]): Html {
  const columns: Column[] = [
    { title: ['Experiment'], align: 'left' },
    { title: ['β'] },
    { title: ['ε'] },
    ...COLUMNS.map(({ title }) => ({ title })),
  ];
  const bodies = entries.map(
    (entry) =>
      html`<tbody>
        ${linesOf(entry).map((line) => entryLine(line, entry))}
      </tbody> `,
  );
  return tableOf(id, caption, columns, bodies, true);
}

function entryLine(line: Line, { rows }: Entry): Html {
  const { name, labels, beta, epsilon, cells } = line;
  const kind = line.kind === 'ours' && rows.length === 0 ? 'none' : line.kind;
  const numbers = cells.map(({ text, spread, measured }, i) => {
    const column = COLUMNS[i].quantity;
    const unmasked = column.startsWith('fgs_unmasked') && html` class="unmasked"`;
    if (!measured) return html`<td${unmasked}>${text}</td>`;
    const value = html`<data value="${csvNumber(column, measured.value)}">${text}</data>`;
    if (spread === undefined) return html`<td${unmasked}>${value}</td>`;
    if (measured.std === undefined) return html`<td${unmasked}>${value}<br>${spread}</td>`;
    const std = csvNumber(column, measured.std);
    return html`<td${unmasked}>${value}<br><data class="spread" value="${std}">${spread}</data></td>`;
  });
  const label = labels.map((text) => html`<br /><small>${text}</small>`);
  return html`<tr class="${kind}">
    <th scope="row">${name}${label}</th>
    <td>${perLayer(beta)}</td>
    <td>${perLayer(epsilon)}</td>
    ${numbers}
  </tr> `;
}

/** A number for each layer, one below the other. */
function perLayer(numbers: string): Content {
  return numbers.split(' ').map((one, i) => [i > 0 && html`<br />`, one]);
}

/** Any other table; the first cell of each row names it. */
export function gridTable(id: string, caption: Content, { columns, rows }: Grid): Html {
  const cell = ({ text, value }: GridCell): Content =>
    value === undefined
      ? text.split('\n').map((line, i) => (i === 0 ? line : html`<br /><small>${line}</small>`))
      : html`<data value="${value}">${text}</data>`;
  const body = rows.map(([first, ...rest]) => {
    const others = rest.map((one, i) => {
      const align = columns[i + 1].align === 'left' && html` class="text"`;
      return html`<td${align}>${cell(one)}</td>`;
    });
    const align = columns[0].align === 'left' && html` class="text"`;
    return html`<tr>
      <th scope="row" ${align}>${cell(first)}</th>
      ${others}
    </tr> `;
  });
  return tableOf(
    id,
    caption,
    columns,
    html`<tbody>
      ${body}
    </tbody>`,
    false,
  );
}
