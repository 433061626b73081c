import { expect, it } from 'vitest';
import { html } from '#bang/report/page/html.js';
import { robustnessSection } from '#bang/report/page/sections/robustnessSection.js';
import { rowWith } from '../../entries.js';

it('explains “worst” only where a table has that column', () => {
  const atBudgets = (['l2'] as const).map((norm) => ({
    ...{ norm, budget: 200, left: 1, accuracy: 1, taken: {}, seconds: 1 },
  }));
  const entryOf = (name: string) => ({
    ...{ name, labels: [], beta: '', epsilon: '', seeds: [1], rows: [rowWith({ atBudgets })] },
  });
  const section = robustnessSection([{ title: 'Any', entries: [entryOf('a'), entryOf('b')] }])!;
  const { text } = html`${section.body}`;
  expect(text).toMatch(/by L2 in grey\s+levels\./);
  expect(text).not.toContain('“worst”');
});
