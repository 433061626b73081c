/** What follows a number as its unit, and what a number or a bound follows. */
const UNIT = /(\d|∞) (?=%|±|grey levels|points?\b|images?\b|pixels?\b|min\b|s\b|h\b|GB\b|MB\b)/g;
const BOUND = /(≤|≥|±|×|σ|β|ε|L∞|PASS) (?=[\d≤≥∞])/g;

/** A sentence in which no number is separated from its unit at the end of a line. */
export function prose(sentence: string): string {
  return sentence
    .replace(UNIT, '$1\u00a0')
    .replaceAll('grey levels', 'grey\u00a0levels')
    .replace(BOUND, '$1\u00a0');
}
