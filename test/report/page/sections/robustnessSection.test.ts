import { expect, it } from 'vitest';
import { html } from '#bang/report/page/html.js';
import { robustnessSection } from '#bang/report/page/sections/robustnessSection.js';
import { rowWith } from '../../entries.js';

/** The section of networks that were attacked in L2 only. */
function sectionOf(...names: string[]): string {
  const budget = { norm: 'l2' as const, budget: 200, left: 1, accuracy: 1, taken: {}, seconds: 1 };
  const rows = [rowWith({ atBudgets: [budget] })];
  const entries = names.map((name) => ({
    ...{ name, labels: [], beta: '', epsilon: '', seeds: [1], rows },
  }));
  return html`${robustnessSection([{ title: 'Any', entries }])!.body}`.text;
}

it('explains “worst” only where a table has that column', () => {
  const text = sectionOf('a', 'b');
  expect(text).toMatch(/by L2 in grey\s+levels\./);
  expect(text).not.toContain('“worst”');
});

it('names the table of a network alike whatever is beside it', () => {
  const [, alone] = /<table id="([^"]*)"/.exec(sectionOf('b'))!;
  expect(sectionOf('a', 'b')).toMatch(
    new RegExp(`<table id="${alone}"[^>]*>\\s*<caption[^>]*>[^<]* leave of b `),
  );
});
