import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../../base/files.js';
import { type Content, html } from '../html.js';
import type { Section } from '../section.js';

/** The terms of `docs/glossary.md`, folded. */
export function glossarySection(): Section {
  const text = readFileSync(path.join(packageRoot, 'docs', 'glossary.md'), 'utf8');
  const rows = [...text.matchAll(/^\| (\*\*.+?) +\| (.+?) +\|$/gm)].map(
    ([, term, meaning]) =>
      html`<dt>${inline(term)}</dt>
        <dd>${inline(meaning)}</dd> `,
  );
  const foldedAs = 'what the words and symbols on this page mean';
  return { id: 'terms', title: 'Terms', foldedAs, body: html`<dl>${rows}</dl>` };
}

/** Markdown's bold text and code, also one in the other; nothing else stands in the glossary's table. */
function inline(markdown: string): Content[] {
  return markdown.split(/(\*\*.+?\*\*|`.+?`)/).map((part) => {
    if (part.startsWith('**')) return html`<b>${inline(part.slice(2, -2))}</b>`;
    return part.startsWith('`') ? html`<code>${part.slice(1, -1)}</code>` : part;
  });
}
