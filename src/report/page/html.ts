/** Markup that is known to be markup: all other text is escaped where it is put in. */
export class Html {
  constructor(readonly text: string) {}
}

/** What can be put into a template. */
export type Content = string | number | Html | false | undefined | readonly Content[];

/**
 * A template of markup. What is put into it is escaped, for elements and for quoted attributes, but for
 * what came out of such a template.
 */
export function html(parts: TemplateStringsArray, ...contents: Content[]): Html {
  const text = parts.map((part, i) => (i === 0 ? part : textOf(contents[i - 1]) + part)).join('');
  return new Html(text);
}

function textOf(content: Content): string {
  if (content === undefined || content === false) return '';
  if (content instanceof Html) return content.text;
  if (typeof content === 'object') return content.map(textOf).join('');
  return escaped(String(content));
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text in which nothing means anything to HTML; what is no character of it is replaced. */
export function escaped(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character])
    .replace(/[^\P{Cc}\n\t]|\p{Cs}|\p{Bidi_Control}/gu, '\uFFFD');
}
