/** What a bar shows. */
export interface BarState {
  label: string;
  /** From 0 to 1. */
  share: number;
  value: number;
  total: number;
  unit: string;
  remaining: string;
  /** Phrases with commas between them; the first matter most. */
  detail: string;
}

const SIZES = [24, 12, 6];

/**
 * A bar in one line of at most `width` characters. What does not fit is left out, the least important first, and
 * nothing is broken inside of a word: the terminal would cut the line anywhere.
 */
export function barLine(state: BarState, width: number): string {
  const { label, share, value, total, unit, remaining, detail } = state;
  const percent = `${Math.floor(100 * share)}%`;
  const bar = (size: number): string => {
    const full = Math.round(share * size);
    return '='.repeat(full) + '-'.repeat(size - full);
  };
  const count = `${value}/${total} ${unit}`;
  const phrases = detail === '' ? [] : detail.split(', ');
  const candidates: string[] = [];
  for (let kept = phrases.length; kept >= 0; kept--) {
    const rest = phrases.slice(0, kept).join(', ');
    for (const size of SIZES) {
      const line = `${label} ${bar(size)} ${percent} | ${count} | ${remaining} left ${rest}`;
      candidates.push(line.trimEnd());
    }
  }
  candidates.push(`${label} ${percent} | ${count} | ${remaining} left`);
  candidates.push(`${label} ${percent} | ${count}`, `${label} ${percent}`, percent);
  return candidates.find((line) => line.length <= width) ?? '';
}
