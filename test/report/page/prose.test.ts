import { expect, it } from 'vitest';
import { prose } from '#bang/report/page/prose.js';

it.each([
  ['at L∞ ≤ 32 grey levels', 'at L∞_≤_32_grey_levels'],
  ['8.6 to 29.0 %', '8.6 to 29.0_%'],
  ['a difference of -9.2 ± 0.8 points', 'a difference of -9.2_±_0.8_points'],
  ['needs L∞ 31, PASS 0.42', 'needs L∞_31, PASS_0.42'],
  ['about 3 min 05 s left', 'about 3_min 05_s left'],
  ['of 1000 images, 12 % stay', 'of 1000_images, 12_% stay'],
  ['nothing to join', 'nothing to join'],
])('%s: no number leaves its unit', (sentence, joined) => {
  expect(prose(sentence)).toBe(joined.replaceAll('_', '\u00a0'));
});
