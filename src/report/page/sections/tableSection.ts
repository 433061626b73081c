import type { TablePart } from '../../../store/collect.js';
import type { Entry } from '../../../store/entry.js';
import { legendOf, protocolSentences } from '../../lines.js';
import { maskingSentence } from '../../masking.js';
import { hiddenLines } from '../../tables.js';
import { type Content, html } from '../html.js';
import { entriesTable } from '../htmlTables.js';
import { plotFigures } from '../plotFigures.js';
import type { Plot } from '../plots.js';
import { prose } from '../prose.js';
import { folded, list, type Section, slug } from '../section.js';
import { splitEntries } from '../splitEntries.js';

/**
 * @param plots the figures of the runs in it
 * @param otherPlots those of runs on subsets or with other settings
 * @param isAside whether it is not what the page is about, and therefore folded
 */
export function tableSection(
  { title, entries }: TablePart,
  plots: readonly Plot[],
  otherPlots: readonly Plot[],
  isAside: boolean,
): Section {
  const id = slug(title);
  const { main, others, missing } = splitEntries(entries);
  const [curves, shown] = [plots.filter(isCurve), plots.filter((plot) => !isCurve(plot))];
  const boxes = [
    others.length > 0 &&
      folded(
        `${id}-others`,
        html`<b>Trained otherwise, on subsets of the images, or with other settings</b>:
          ${namesInBrief(others)}`,
        entriesTable(
          `${id}-others-table`,
          'Runs of rows are labelled with what differs from the paper; the published rows are above.',
          others.map((entry) => ({ ...entry, published: undefined })),
          title,
        ),
        truth(others),
        plotFigures(`${title}, trained otherwise, on subsets or with other settings`, otherPlots),
      ),
    curves.length > 0 &&
      folded(
        `${id}-curves`,
        html`<b>How they were trained</b>: curves`,
        plotFigures(title, curves),
      ),
    missing.length > 0 &&
      folded(
        `${id}-missing`,
        html`<b>Published rows without a run here</b>:
          ${missing.map(({ published }) => published!.id).join(', ')}`,
        entriesTable(`${id}-missing-table`, 'As published.', missing),
      ),
    folded(
      `${id}-legend`,
      'How to read the table, and how it was measured',
      html`<div class="notes">
        ${[...legendOf(entries), ...protocolSentences(entries)].map((line) => html`<p>${prose(line)}</p> `)}
      </div>`,
    ),
  ];
  const body = [
    entriesTable(
      `${id}-table`,
      'Ours, published, and the difference. Click a heading to sort.',
      main,
      title,
    ),
    html`<div class="beside">
      ${plotFigures(title, shown)}
      <div>${truth(main)}${boxes}</div>
    </div>`,
  ];
  const names = [...new Set(main.map(({ name }) => name))].join(', ');
  return { id, title, body, foldedAs: isAside ? prose(names) : undefined };
}

function isCurve({ name }: Plot): boolean {
  return name === 'training' || name === 'eta';
}

function namesInBrief(entries: readonly Entry[]): string {
  const names = entries.map(({ name }) => name);
  return names.length <= 4
    ? names.join(', ')
    : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}

/** What the FGS columns hide: in full for one experiment, in brief for several. */
function truth(entries: readonly Entry[]): Content {
  const sentences = entries.flatMap(({ rows }) => maskingSentence(rows) ?? []);
  if (sentences.length === 0) return undefined;
  const body =
    sentences.length === 1
      ? html`<p>${prose(sentences[0])}</p>`
      : [
          html`<p>
            In percent of the correctly classified images. A gradient is blank where the float32
            loss is exactly 0; unmasked FGS follows the gradient of the log-odds, which cannot
            underflow.
          </p>`,
          list(hiddenLines(entries).map(prose)),
        ];
  return html`<div class="truth">
    <h3>What FGS-Rate hides</h3>
    ${body}
  </div>`;
}
