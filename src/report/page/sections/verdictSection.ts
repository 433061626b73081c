import { extentOf } from '../../../base/sums.js';
import { printable } from '../../../base/text.js';
import { noiseVerdict, sweepVerdict, type Judged, type TableVerdict } from '../../verdict.js';
import type { FoundStudy, FoundSweep } from '../contents.js';
import { type Content, type Html, html } from '../html.js';
import { prose } from '../prose.js';
import type { Section } from '../section.js';

/** A sweep or a study, with the section that has its numbers. */
export interface Linked<T> {
  of: T;
  id: string;
  title: string;
}

export interface VerdictSources {
  /** Of each table; the section that has it. */
  tables: readonly { verdict: TableVerdict; id: string }[];
  sweeps: readonly Linked<FoundSweep>[];
  studies: readonly Linked<FoundStudy>[];
  /** Links to the sections that have more about networks. */
  more: readonly { id: string; title: string }[];
}

/** The first screen: what was found, in words and in a chart for each table, with links down. */
export function verdictSection({
  tables,
  sweeps,
  studies,
  more,
}: VerdictSources): Section | undefined {
  const others = [
    ...studies.map(({ of, id, title }) => {
      const { headline, sentence } = noiseVerdict(of.result);
      return finding(headline, [sentence], [{ id, title }], undefined, title);
    }),
    ...sweeps.map(({ of: { keys, cells }, id, title }) => {
      const { headline, sentences } = sweepVerdict(keys, cells);
      return finding(headline, sentences, [{ id, title }], undefined, title);
    }),
  ];
  if (tables.length + others.length === 0) return undefined;
  const findings = tables.map(({ verdict, id }) =>
    finding(
      verdict.headline,
      verdict.sentences,
      [{ id, title: verdict.title.replace(/:.*/, '') }, ...more],
      chart(verdict, id),
      verdict.title,
    ),
  );
  return {
    id: 'verdict',
    title: 'In short',
    body: html`<div class="findings">${findings}${others}</div>`,
  };
}

function finding(
  headline: string,
  sentences: readonly string[],
  links: readonly { id: string; title: string }[],
  picture?: Html,
  of?: string,
): Html {
  const down = links.map(({ id, title }, i) => [
    i > 0 && ' · ',
    html`<a href="#${id}">${title}</a>`,
  ]);
  return html`<article class="finding">
    <h3>${of !== undefined && html`<small>${of}</small><br />`}${headline}</h3>
    ${picture} ${sentences.map((sentence) => html`<p>${prose(sentence)}</p> `)}
    <p class="down">${down}</p>
  </article> `;
}

const MARKS = [
  { of: 'fgs', title: 'FGS', mark: 'says' },
  { of: 'unmasked', title: 'unmasked FGS', mark: 'unmasked' },
  { of: 'worst', title: 'worst attack', mark: 'leaves' },
] as const;

/** How much is left of each network, as a line from 0 to 100 % with a mark for each attack. */
function chart({ judged, budget }: TableVerdict, id: string): Html {
  const marks = MARKS.filter(({ of }) => judged.some(({ standing }) => standing[of] !== undefined));
  // A phone has room for two numbers: what FGS says, and what decides.
  const kindOf = (of: (typeof MARKS)[number]['of']): Content => {
    if (of === marks.at(-1)!.of) return html` class="decisive"`;
    return of !== 'fgs' && html` class="beside-strip"`;
  };
  const common = judged[0].entry.labels.filter((label) =>
    judged.every(({ entry }) => entry.labels.includes(label)),
  );
  const legend = marks.map(
    ({ title, mark }) =>
      html`<span class="key"
        ><svg width="12" height="12" aria-hidden="true">${shape(mark, '50%')}</svg> ${title}</span
      > `,
  );
  const within = budget === null ? 'at any L∞' : `at L∞ ≤ ${budget} grey levels`;
  const rows = judged.map(({ entry, training, standing }) => {
    const numbers = marks.map(({ of }) => standing[of]);
    const [least, most] = extentOf(numbers.filter((value) => value !== undefined));
    return html`<tr ${training === 'BANG' && html` class="bang"`}>
      <th scope="row">${entry.name} <small>${trainingText({ training, entry }, common)}</small></th>
      <td class="strip">
        <svg aria-hidden="true">
          <line class="whole" x1="0" x2="100%" y1="50%" y2="50%" />
          <rect
            class="gap"
            x="${percent(least)}"
            width="${percent(most - least)}"
            y="35%"
            height="30%"
          />
          ${marks.map(({ of, mark }) => {
            const value = standing[of];
            return value !== undefined && shape(mark, percent(value));
          })}
        </svg>
      </td>
      ${marks.map(({ of }) => html`<td${kindOf(of)}>${numberOf(standing[of])}</td>`)}
    </tr> `;
  });
  return html`<table class="chart" aria-labelledby="${id}-chart-caption">
    <caption id="${id}-chart-caption">
      Test images that are still classified correctly, in percent,
      ${prose([within, ...common].join('; '))}: ${legend}
    </caption>
    <thead>
      <tr>
        <th scope="col">Network</th>
        <th scope="col" class="strip"><span>0</span><span>50</span><span>100&nbsp;%</span></th>
        ${marks.map(({ of, title }) => html`<th scope="col" ${kindOf(of)}>${title}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows}
    </tbody>
  </table>`;
}

function trainingText(
  { training, entry: { rows, labels } }: Pick<Judged, 'training' | 'entry'>,
  common: readonly string[],
): string {
  const more = [
    ...(rows.length > 1 ? [`${rows.length} seeds`] : []),
    ...labels.filter((label) => !common.includes(label)).slice(0, 2),
  ];
  return printable([training, ...more].join(', '));
}

function shape(mark: (typeof MARKS)[number]['mark'], x: string): Html {
  const svg = { says: 5, unmasked: 4, leaves: 5 };
  return html`<circle class="${mark}" cx="${x}" cy="50%" r="${svg[mark]}" />`;
}

function percent(value: number): string {
  return `${Number(value.toFixed(2))}%`;
}

function numberOf(value: number | undefined): Content {
  return value === undefined
    ? '–'
    : html`<data value="${Number(value.toFixed(4))}">${value.toFixed(1)}</data>`;
}
