import { printable } from '../base/text.js';

/** Text in which characters that XML cannot represent are replaced; white space becomes spaces. */
export function xmlText(value: string | number): string {
  return printable(String(value).replace(/\s+/g, ' ')).replace(/[\p{Cs}\uFFFE\uFFFF]/gu, '\uFFFD');
}
