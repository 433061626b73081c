import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { html } from '#bang/report/page/html.js';
import { glossarySection } from '#bang/report/page/sections/glossarySection.js';

it('has every term of the glossary, and no Markdown', () => {
  const { text } = html`${glossarySection().body}`;
  const glossary = readFileSync(path.join(packageRoot, 'docs', 'glossary.md'), 'utf8');
  // All lines of its table but the heading and the rule.
  const rows = glossary.split('\n').filter((line) => line.startsWith('|')).length - 2;
  expect(text.match(/<dt>/g)).toHaveLength(rows);
  for (const term of ['β', 'ε', 'κ', 'η', 'PASS', 'HC1', 'L∞', 'blank gradient', 'cell']) {
    expect(text).toContain(`<dt><b>${term}</b>`);
  }
  expect(text).toContain('such as <code>fgs_rate</code>');
  expect(text).not.toMatch(/\*\*|`|\|/);
});
