import { printable } from '../../../base/text.js';
import { transferGrid } from '../../transfer.js';
import type { FoundTransfer } from '../contents.js';
import { html } from '../html.js';
import { gridTable } from '../htmlTables.js';
import { idsOf, type Section } from '../section.js';

export function transferSection(transfers: readonly FoundTransfer[]): Section | undefined {
  if (transfers.length === 0) return undefined;
  const ids = idsOf(
    'transfer',
    transfers.map(({ folder }) => folder),
  );
  const body = transfers.map(({ folder, transfers: found }, i) =>
    gridTable(
      ids[i],
      html`Perturbations that fool the network they were made on, tried on the other.
        <small>${printable(folder)}</small>`,
      transferGrid(found),
    ),
  );
  return {
    id: 'transfer',
    title: 'Transfer',
    foldedAs: html`perturbations made on one network, tried on another: ${transfers.length}
    ${transfers.length === 1 ? 'pair' : 'pairs'}`,
    body: html`<div class="beside">${body}</div>`,
  };
}
