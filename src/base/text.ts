/** Text for display: numbers, lists of words, and untrusted names made safe to print. */

/** A number with `digits` decimals, and no minus sign on a rounded zero. */
export function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text;
}

/** The same with a plus sign if positive. */
export function signed(value: number, digits: number): string {
  const text = fixed(value, digits);
  return Number(text) > 0 ? `+${text}` : text;
}

/** Text as the beginning of a sentence. */
export function capitalised(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

/** `1 image` or `3 images`. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** The same as the only element of a list; an empty list for 0. */
export function countedIfAny(n: number, one: string, many?: string): string[] {
  return n === 0 ? [] : [counted(n, one, many)];
}

/** `a`, `a or b`, `a, b or c`. */
export function inWords(names: readonly string[]): string {
  const last = names[names.length - 1];
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} or ${last}`;
}

/** Untrusted text in quotes, truncated, with control characters escaped. */
export function quoted(value: string): string {
  return escaped(JSON.stringify(cut(value)));
}

/** Any plain value as JSON, truncated and escaped in the same way. */
export function briefJson(value: unknown): string {
  return escaped(cut(JSON.stringify(value)));
}

function cut(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function escaped(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}

/** A shape such as `28×28×1`. */
export function shapeText(shape: readonly number[]): string {
  return shape.join('×');
}

/** A name with control characters replaced, so that a terminal does not interpret them. */
export function printable(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}

/** The same for text of several lines, which may contain names from files and queues. */
export function printableText(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/**
 * Text with its long lines broken at spaces, so that a terminal of this width breaks none inside of a word. Tables
 * stay as they are; below a word with spaces after it, as in a list of facts, lines are indented.
 */
export function wrapped(text: string, width: number): string {
  return text
    .split('\n')
    .flatMap((line) =>
      line.length <= width || /^[┌├│└]/.test(line) ? [line] : broken(line, width),
    )
    .join('\n');
}

function broken(line: string, width: number): string[] {
  const [head] = /^\S+ {2,}/.exec(line) ?? [''];
  const indent = ' '.repeat(head.length < width / 2 ? head.length : 0);
  const lines: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const from = lines.length === 0 ? head.length : indent.length;
    const before = rest.lastIndexOf(' ', width);
    // A word that is longer than a line stays whole.
    const at = before > from ? before : rest.indexOf(' ', width);
    if (at < 0) break;
    lines.push(rest.slice(0, at).trimEnd());
    rest = indent + rest.slice(at).trimStart();
  }
  return [...lines, rest];
}

/** A word of a command that is printed, quoted for a shell where necessary. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The most similar of `words`, or undefined if none is similar enough. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const typed = word.toLowerCase();
  let best: string | undefined;
  let least = Infinity;
  for (const candidate of words) {
    const distance = editDistance(typed, candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return least <= Math.max(1, Math.floor(word.length / 3)) ? best : undefined;
}

/** The number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
      }
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
