import { csvNumber } from '../../store/csv.js';
import { type Line, linesOf, type QuantityColumn, tableColumns } from '../lines.js';
import type { Entry } from '../../store/entry.js';
import type { Column, Grid, GridCell } from '../grid.js';
import { type Content, html, type Html } from './html.js';
import { entryKey } from './section.js';

/** A column whose cells the style treats alike. */
interface HeadColumn extends Column {
  kind?: 'setting';
}

/**
 * A table in a box, so that the table scrolls and not the page.
 *
 * @param id names the table, for links and for remembering how the reader sorted it
 * @param groups whether its bodies are sorted rather than its rows
 */
function tableOf(
  id: string,
  caption: Content,
  columns: readonly HeadColumn[],
  bodies: Content,
  groups: boolean,
): Html {
  const heads = columns.map(
    ({ title, align, kind }) =>
      html`<th scope="col" ${(align === 'left' || kind) && html` class="${kind ?? 'text'}"`}>
        <button type="button">${lines(title)}</button>
      </th>`,
  );
  return html`<div class="box" role="group" aria-labelledby="${id}-caption" tabindex="0">
    <table id="${id}" data-sort="${groups ? 'bodies' : 'rows'}">
      <caption id="${id}-caption">
        ${caption}
        <span class="hint">Scroll the table sideways for more columns →</span>
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
  return title.map((line, i) => (i === 0 ? line || 'what' : html` <br />${line}`));
}

/** What decides comes first: unmasked FGS beside FGS. The rest is in the paper's order. */
const FIRST: readonly string[] = ['accuracy', 'fgs_rate', 'fgs_unmasked_rate', 'fgs_unmasked_linf'];

/** The columns of a table in the order in which the page shows them, with their places in its lines. */
type Shown = readonly [at: number, column: QuantityColumn][];

function columnsShown(entries: readonly Entry[]): Shown {
  const place = ({ quantity }: QuantityColumn): number => {
    const first = FIRST.indexOf(quantity);
    return first < 0 ? FIRST.length : first;
  };
  return [...tableColumns(entries).entries()].sort(([, a], [, b]) => place(a) - place(b));
}

/** A table like Tables 1 and 2: for each experiment our lines and, the first time, the published one. */
export function entriesTable(
  id: string,
  caption: Content,
  entries: readonly Entry[],
  title = '',
): Html {
  const shown = columnsShown(entries);
  const columns: HeadColumn[] = [
    { title: ['Experiment'], align: 'left' },
    { title: ['β'], kind: 'setting' },
    { title: ['ε'], kind: 'setting' },
    ...shown.map(([, { title }]) => ({ title })),
  ];
  const ids = entries.map(({ published }) => published?.id);
  const bodies = entries.map((entry, i) => {
    const isShown = ids.indexOf(ids[i]) === i;
    const lines = linesOf(entry, entries).filter(({ kind }) => kind !== 'published' || isShown);
    return html`<tbody data-entry="${entryKey(title, entry)}">
      ${lines.map((line) => entryLine(line, entry, shown))}
    </tbody> `;
  });
  return tableOf(id, caption, columns, bodies, true);
}

function entryLine(line: Line, { rows }: Entry, shown: Shown): Html {
  const { name, labels, beta, epsilon, cells } = line;
  const kind = line.kind === 'ours' && rows.length === 0 ? 'none' : line.kind;
  const numbers = shown.map(([at, { quantity: column }]) => {
    const { text, spread, measured } = cells[at];
    const unmasked = column.startsWith('fgs_unmasked') && html` class="unmasked"`;
    const number = measured
      ? html`<data value="${csvNumber(column, measured.value)}">${text}</data>`
      : text;
    const deviation =
      measured?.std === undefined
        ? html` <span class="spread">${spread}</span>`
        : html` <data class="spread" value="${csvNumber(column, measured.std)}">${spread}</data>`;
    return html`<td${unmasked}>${number}${spread !== undefined && deviation}</td>`;
  });
  const label = labels.map((text) => html`<br /><small>${text}</small>`);
  return html`<tr class="${kind}">
    <th scope="row">
      ${name}${label}${beta !== '' && beta !== '–' && html`<small class="narrow"><br />β&nbsp;${beta}, ε&nbsp;${epsilon}</small>`}
    </th>
    <td class="setting">${perLayer(beta)}</td>
    <td class="setting">${perLayer(epsilon)}</td>
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
      ? text.split('\n').map((line, i) => (i === 0 ? line : html` <small>${line}</small>`))
      : html`<data value="${value}">${text}</data>`;
  const kinds = columns.map(({ align }) => align === 'left' && html` class="text"`);
  const body = rows.map(
    ([first, ...rest]) =>
      html`<tr>
        <th scope="row" ${kinds[0]}>${cell(first)}</th>
        ${rest.map((one, i) => html`<td${kinds[i + 1]}>${cell(one)}</td>`)}
      </tr> `,
  );
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
