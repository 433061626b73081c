import { expect, it } from 'vitest';
import type { Collected, FoundSweep } from '#bang/report/page/contents.js';
import { sectionsOf } from '#bang/report/page/sections/sections.js';

function sweep(name: string, running = false): FoundSweep {
  const keys = ['training.bang.beta'];
  return { folder: name, name, keys, cells: [], identity: {}, running, atWork: [] };
}

/** Whether each sweep of a page with these is folded. */
function areFolded(...sweeps: FoundSweep[]): boolean[] {
  const collected: Collected = {
    folders: ['runs'],
    parts: [],
    sweeps,
    studies: [],
    transfers: [],
    unfinished: [],
    notes: [],
  };
  const none = { of: new Map(), ofOthers: new Map(), notes: [] };
  return sectionsOf({ collected, plots: none })
    .filter(({ id }) => id.startsWith('sweep-'))
    .map(({ foldedAs }) => foldedAs !== undefined);
}

it('a sweep without a figure is folded only if it is finished and there is more to read', () => {
  expect(areFolded(sweep('alone'))).toEqual([false]);
  expect(areFolded(sweep('one'), sweep('two'))).toEqual([true, true]);
  expect(areFolded(sweep('one'), sweep('two', true))).toEqual([true, false]);
});
