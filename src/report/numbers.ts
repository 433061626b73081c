import { fixed } from '../base/text.js';
import type { NumberStyle } from '../metrics/quantities.js';

/** `97.20 %`, `12.93 grey levels`, `0.7638`. */
export function numberText(value: number, { unit, digits }: NumberStyle): string {
  const text = telling(value, digits);
  return unit === '' ? text : `${text} ${unit}`;
}

/** With more digits if the given number of them would round it to zero. */
export function telling(value: number, digits: number): string {
  const text = fixed(value, digits);
  if (Number(text) !== 0 || Math.abs(value) < 1e-9) return text;
  return String(Number(value.toPrecision(2)));
}
