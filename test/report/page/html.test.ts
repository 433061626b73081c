import { SaxesParser } from 'saxes';
import { describe, expect, it } from 'vitest';
import { escaped, Html, html } from '#bang/report/page/html.js';
import { makeRandom } from '#bang/base/random.js';

/** The texts and attributes that an XML parser finds: for what we write, XML and HTML read alike. */
function parsed(markup: string): string[] {
  const found: string[] = [];
  const parser = new SaxesParser();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ attributes }) => found.push(...Object.values(attributes).map(String)));
  parser.on('text', (text) => found.push(text));
  parser.write(markup).close();
  return found;
}

describe('markup', () => {
  it('keeps any text unchanged, in elements and in attributes', () => {
    const random = makeRandom(1, 'html test', 0);
    const pieces = [
      '<',
      '>',
      '&',
      '"',
      "'",
      '</p>',
      '<!--',
      ']]>',
      '&amp;',
      'x',
      ' ',
      'ε',
      '😀',
      '`',
      '=',
    ];
    for (let i = 0; i < 300; i++) {
      const length = 1 + Math.floor(random.uniform() * 8);
      const text = Array.from(
        { length },
        () => pieces[Math.floor(random.uniform() * pieces.length)],
      ).join('');
      expect(parsed(html`<p title="${text}">${text}</p>`.text)).toEqual([text, text]);
    }
  });

  it('replaces what is not text: controls, halves of characters, what turns the direction', () => {
    expect(escaped('a\u0000b\u001bc\ud800d\u202ee\nf\tg')).toBe(
      'a\ufffdb\ufffdc\ufffdd\ufffde\nf\tg',
    );
  });

  it('treats templates as markup, also in lists, and leaves out missing values', () => {
    const inner = html`<b>${'<'}</b>`;
    expect(html`<p>${[inner, ' ', 1, false, undefined]}</p>`.text).toBe('<p><b>&lt;</b> 1</p>');
    expect(inner).toBeInstanceOf(Html);
  });
});
