import type { Entry } from '../../store/entry.js';
import { legendOf, protocolSentences } from '../lines.js';
import { maskingSentence } from '../masking.js';
import { hiddenByFgs } from '../tables.js';
import { type Content, html } from './html.js';
import { entriesTable } from './htmlTables.js';
import { plotFigures } from './plotFigures.js';
import type { Plot } from './plots.js';
import { list, type Section, slug } from './section.js';

export function tableSection(
  title: string,
  entries: readonly Entry[],
  plots: readonly Plot[] = [],
): Section {
  const id = slug(title);
  return {
    id,
    title,
    body: [
      entriesTable(
        `${id}-table`,
        'Ours, published, and the difference. Click a heading to sort.',
        entries,
      ),
      html`<div class="notes">
        ${[...legendOf(entries), ...protocolSentences(entries)].map((line) => html`<p>${line}</p> `)}
      </div>`,
      truth(entries),
      plotFigures(title, plots),
    ],
  };
}

/** What the FGS columns hide: in full for one experiment, in brief for several. */
function truth(entries: readonly Entry[]): Content {
  const sentences = entries.flatMap(({ rows }) => maskingSentence(rows) ?? []);
  if (sentences.length === 0) return undefined;
  const lines = hiddenByFgs(entries)[0].slice(1);
  const body =
    sentences.length === 1
      ? html`<p>${sentences[0]}</p>`
      : [
          html`<p>
            In percent of the correctly classified images. A gradient is blank where the float32
            loss is exactly 0; unmasked FGS follows the gradient of the log-odds, which cannot
            underflow.
          </p>`,
          list(lines),
        ];
  return html`<div class="truth">
    <h3>What FGS-Rate hides</h3>
    ${body}
  </div>`;
}
