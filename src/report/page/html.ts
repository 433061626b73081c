/** Markup; any other text is escaped when it is inserted. */
export class Html {
  constructor(readonly text: string) {}
}

/** What a template can contain. */
export type Content = string | number | Html | false | undefined | readonly Content[];

/**
 * A template of markup. Inserted values are escaped, for elements and for quoted attributes, except those
 * that come from such a template.
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

/** Text escaped for HTML; characters that HTML does not allow are replaced. */
export function escaped(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character])
    .replace(/[^\P{Cc}\n\t]|\p{Cs}|\p{Bidi_Control}/gu, '\uFFFD');
}
