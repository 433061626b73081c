import { type Content, type Html, html } from './html.js';

/** A part of the page, with an entry in the table of contents. */
export interface Section {
  /** Must not change during runs: the browser uses it to find the section to replace. */
  id: string;
  title: string;
  body: Content;
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
