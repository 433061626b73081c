import { type Content, type Html, html } from './html.js';

/** A part of the page, with an entry in the table of contents. */
export interface Section {
  /** Must not change during runs: the browser uses it to find the section to replace. */
  id: string;
  title: string;
  body: Content;
  /** What is in it, if it is not for the first reading: the title and this are all that is seen until it is unfolded. */
  foldedAs?: Content;
  /** Whether two of them fit side by side on a wide screen. */
  isNarrow?: boolean;
}

export function list(items: readonly Content[]): Html {
  return html`<ul>
    ${items.map((item) => html`<li>${item}</li> `)}
  </ul>`;
}

/** A name as part of an `id`: letters, digits and hyphens. */
export function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, (other) =>
      /^[ :./-]+$/.test(other) ? '-' : `-${Buffer.from(other).toString('hex')}-`,
    );
}

/**
 * An `id` for each name, which stays when others come; if names are equal, all but the first get a number. What
 * belongs to one is called the same with an underscore and more, which no name becomes.
 */
export function idsOf(kind: string, names: readonly string[]): string[] {
  const slugs = names.map(slug);
  return slugs.map((one, i) => {
    const before = slugs.slice(0, i).filter((other) => other === one).length;
    return `${kind}-${one}${before === 0 ? '' : `_${before + 1}`}`;
  });
}

/** A box that unfolds; the key says which it is when the page changes. */
export function folded(key: string, summary: Content, ...body: Content[]): Html {
  return html`<details data-key="${key}">
    <summary>${summary}</summary>
    ${body}
  </details> `;
}

/** Names a line of a table, its run and its configuration, for the script that puts two of them side by side. */
export function entryKey(
  title: string,
  { name, labels }: { name: string; labels: string[] },
): string {
  return JSON.stringify([title, name, ...labels]);
}
