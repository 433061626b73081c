import { expect, it } from 'vitest';
import { html } from '#bang/report/page/html.js';
import { tableSection } from '#bang/report/page/sections/tableSection.js';
import { groupRuns, tablesOf } from '#bang/store/collect.js';
import { resultWith } from '../../entries.js';

it('marks as many values as the legend counts, also of a row that was evaluated twice', () => {
  const runs = ['first', 'second'].flatMap((protocol) =>
    [1, 2, 3].map((seed) => ({
      folder: `${protocol}/seed-${seed}`,
      result: resultWith('lenet-b1', {
        config: { seed, evaluation: { images: protocol } as never },
        row: { accuracy: 90 + seed / 100 },
      }),
    })),
  );
  const [part] = tablesOf(groupRuns(runs).groups);
  const { text } = html`${tableSection(part, [], [], false).body}`;
  const [, counted] = /(\d+) of \d+ values are/.exec(text)!;
  expect(text.match(/>\* [+-]/g)).toHaveLength(Number(counted));
  expect(text.match(/<tr class="published"/g)).toHaveLength(8);
});
