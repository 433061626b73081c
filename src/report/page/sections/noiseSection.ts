import { printable } from '../../../base/text.js';
import { ofPair } from '../../../metrics/noise.js';
import { quotedNoise } from '../../../store/noise.js';
import { noiseGrid, noiseSentences } from '../../noise.js';
import type { FoundStudy } from '../contents.js';
import { html } from '../html.js';
import { gridTable } from '../htmlTables.js';
import { plotFigures } from '../plotFigures.js';
import type { Plot } from '../plots.js';
import { prose } from '../prose.js';
import { noiseVerdict } from '../../verdict.js';
import { folded, type Section } from '../section.js';

export function noiseSection(
  id: string,
  title: string,
  { folder, result }: FoundStudy,
  plots: readonly Plot[] = [],
): Section {
  const { name, config, rows } = result;
  const titles = ofPair((key) => printable(config.networks[key].name));
  const quoted = quotedNoise(result);
  return {
    id,
    title,
    isNarrow: true,
    body: [
      html`<p>${prose(noiseVerdict(result).sentence)} <small>${printable(folder)}</small></p>`,
      plots.length > 0 &&
        folded(
          `${id}_figure`,
          html`<b>Over the training</b>, in a figure`,
          plotFigures(name, plots),
        ),
      folded(
        `${id}_table`,
        html`<b>The last stage</b>, in a table`,
        gridTable(
          `${id}_table`,
          'Random distortions that are classified wrongly, in percent.',
          noiseGrid(rows, titles, quoted),
        ),
        html`<div class="notes">
          ${noiseSentences(rows, result).map((line) => html`<p>${prose(line)}</p> `)}
        </div>`,
      ),
    ],
  };
}
