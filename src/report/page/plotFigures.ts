import { type Html, html } from './html.js';
import type { Plot } from './plots.js';

/** The caption of each figure, and its alternative text. */
const PLOT_TEXTS: Record<Plot['name'], [caption: string, alt: string]> = {
  linf: [
    'The smallest L∞ that fools each network, a histogram for each attack; the bar above each shows how many images are fooled at all.',
    'Histograms of the smallest L∞, a row for each network and a column for each attack',
  ],
  training: [
    'Loss and accuracy over the iterations of training.',
    'Curves of loss and accuracy over the iterations, a line for each network',
  ],
  eta: [
    'η, the factors by which BANG scales gradients, of each layer over training.',
    'Curves of η over the iterations, a panel for each layer',
  ],
  surfaces: [
    'The sweep as surfaces over its two keys.',
    'Heat maps of accuracy, FGS and HC1 over the two keys of the sweep',
  ],
  noise: [
    'Share of misclassified distortions over training and σ.',
    'Heat maps of the share of misclassified distortions over training and σ',
  ],
};

/** Where the wide figures do not fit, and would have to be made smaller. */
const NARROW_SCREEN = '(max-width: 45rem)';

/** Figures as images, so that no script in them runs and the page's style does not apply to them. */
export function plotFigures(of: string, plots: readonly Plot[]): Html | undefined {
  if (plots.length === 0) return undefined;
  const figures = plots.map(({ name, svg, narrow, csv }) => {
    const [caption, alt] = PLOT_TEXTS[name];
    const address = (type: string, text: string): string =>
      `data:${type};base64,${Buffer.from(text).toString('base64')}`;
    return html`<figure class="plot">
      <div class="box" role="group" aria-label="${alt}" tabindex="0">
        <picture>
          <source
            media="${NARROW_SCREEN}"
            srcset="${address('image/svg+xml', narrow)}"
            ${sizeOf(narrow)}
          />
          <img src="${address('image/svg+xml', svg)}" alt="${alt}, of ${of}" ${sizeOf(svg)} />
        </picture>
      </div>
      <figcaption>
        ${caption} <a download="${name}.csv" href="${address('text/csv', csv)}">Data as CSV</a>
      </figcaption>
    </figure>`;
  });
  return html`<div class="plots">${figures}</div>`;
}

/** The size of a figure, so that its place is kept before it is drawn. */
function sizeOf(svg: string): Html | undefined {
  const size = /^<svg [^>]*?width="(\d+(?:\.\d+)?)" height="(\d+(?:\.\d+)?)"/.exec(svg);
  return size
    ? html`width="${Math.round(Number(size[1]))}" height="${Math.round(Number(size[2]))}"`
    : undefined;
}
