import type { CollectedPart } from '../../../store/collect.js';
import { entryTitle } from '../../../store/entry.js';
import { html } from '../html.js';
import { entryKey, type Section } from '../section.js';

/**
 * Two runs side by side, as `bang diff` shows them: the reader chooses, and the script fills the table from the
 * numbers and configurations on the page. Undefined if there are not two.
 */
export function compareSection(parts: readonly CollectedPart[]): Section | undefined {
  const options = parts.flatMap(({ title, entries }) =>
    entries
      .filter(({ rows }) => rows.length > 0)
      .map((entry) => ({
        key: entryKey(title, entry),
        text: entryTitle(entry),
      })),
  );
  if (options.length < 2) return undefined;
  const choice = (name: string, chosen: number) =>
    html`<label
      >${name.toUpperCase()}
      <select name="${name}">
        ${options.map(
          ({ key, text }, i) =>
            html`<option value="${key}" ${i === chosen && html` selected`}>${text}</option>`,
        )}
      </select></label
    > `;
  return {
    id: 'compare',
    title: 'Two runs side by side',
    foldedAs: html`choose two of the ${options.length}: their numbers, and what differs in their
    configurations`,
    body: html`<form class="filter" aria-label="Which runs are compared">
        ${choice('a', 0)}${choice('b', 1)}
      </form>
      <div class="box compared" tabindex="0" role="group" aria-label="The two runs"></div>
      <noscript
        ><p>This needs scripts; <code>bang diff A B</code> shows the same.</p></noscript
      >`,
  };
}
