import { Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { barLine } from '#bang/cli/barLine.js';
import { consoleProgress } from '#bang/cli/consoleProgress.js';
import { wrapped } from '#bang/base/text.js';
import { printMarked, wantsColour } from '#bang/cli/print.js';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** A terminal of 80 columns that keeps what is written to it. */
function terminal() {
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += String(chunk);
      done();
    },
  });
  return {
    stream: Object.assign(stream, { isTTY: true, columns: 80 }) as unknown as NodeJS.WriteStream,
    written: () => written,
  };
}

const state = {
  label: 'train lenet-b1, seed 3',
  share: 0.42,
  value: 4200,
  total: 10_000,
  unit: 'iterations',
  remaining: '12 min 05 s',
  detail: 'loss 0.0312, validation 98.97 %, best 99.01 %',
};

describe('the line of a bar', () => {
  it('fits every width, whole words only, and shows more where there is more room', () => {
    const words = new Set(`${Object.values(state).join(' ')} 42% | left 4200/10000`.split(/,? /));
    let shown = 0;
    for (let width = 0; width <= 160; width++) {
      const line = barLine(state, width);
      expect(line.length).toBeLessThanOrEqual(width);
      const parts = line.split(' ').filter((part) => part !== '' && !/^[=-]+$/.test(part));
      for (const part of parts) expect([...words], line).toContain(part.replace(/,$/, ''));
      if (parts.length > 0) expect(line).toContain('42%');
      shown = Math.max(shown, parts.length);
    }
    expect(barLine(state, 160)).toBe(
      `train lenet-b1, seed 3 ${'='.repeat(10)}${'-'.repeat(14)} 42% | 4200/10000 iterations | 12 min 05 s left loss 0.0312, validation 98.97 %, best 99.01 %`,
    );
    expect(barLine(state, 80)).toContain('4200/10000 iterations | 12 min 05 s left');
    expect(shown).toBeGreaterThan(10);
  });
});

describe('progress on a terminal', () => {
  const work = async (): Promise<string> => {
    const { stream, written } = terminal();
    const progress = consoleProgress(stream);
    const task = progress.start(state.label, state.total, state.unit);
    task.update(4200, state.detail);
    progress.note('a note');
    // Longer than between two drawings.
    await setTimeout(400);
    task.finish('done');
    return written();
  };

  it('draws a bar of fewer than 80 characters', async () => {
    vi.stubEnv('TERM', 'xterm');
    // eslint-disable-next-line no-control-regex
    const lines = (await work()).split(/\n|\u001b\[[\d;?]*[A-Za-z]/);
    const bars = lines.filter((line) => line.includes('%'));
    expect(bars.length).toBeGreaterThan(0);
    for (const line of bars) expect(line.length).toBeLessThan(80);
  });

  it('moves no cursor where TERM is dumb', async () => {
    vi.stubEnv('TERM', 'dumb');
    const text = await work();
    expect(text).toBe(`a note\n${state.label}: done\n`);
  });
});

describe('sentences on a terminal', () => {
  const sentence =
    'lenet-b1: the gradients of 53.2 % of the images are blank (doubling, then bisection)';

  it('are broken at spaces alone, and lose nothing', () => {
    for (let width = 1; width < 100; width++) {
      const lines = wrapped(sentence, width).split('\n');
      expect(lines.join(' ')).toBe(sentence);
      for (const line of lines) expect(line.length <= width || !line.includes(' ')).toBe(true);
    }
  });

  it('are indented below what they say something of, and tables stay whole', () => {
    expect(wrapped('speed   69 GFLOP/s of 70 that there are', 20)).toBe(
      'speed   69 GFLOP/s\n        of 70 that\n        there are',
    );
    const table = '│ a name │ 1 │\n└────────┴───┘';
    expect(wrapped(table, 5)).toBe(table);
    expect(wrapped(sentence, Infinity)).toBe(sentence);
  });
});

describe('colour', () => {
  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [false, { FORCE_COLOR: '1' }, true],
    [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
    [true, { FORCE_COLOR: '0' }, false],
    [true, { TERM: 'dumb' }, false],
  ])('on a terminal (%s) with %j is wanted: %s', (isTTY, env, wanted) => {
    const all = { NO_COLOR: '', FORCE_COLOR: '', TERM: 'xterm', ...env };
    for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value);
    expect(wantsColour({ isTTY })).toBe(wanted);
  });

  it('marks verdicts and significant differences, never names', () => {
    let written = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written += String(text);
      return true;
    });
    const text = 'FAIL a: out of band\nok   b: FAIL ok\n│ * +0.12 │ 2 * x\u001b[31m';
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('FORCE_COLOR', '1');
    printMarked(text);
    expect(written).toBe(
      '\u001b[31mFAIL\u001b[39m a: out of band\n\u001b[32mok\u001b[39m   b: FAIL ok\n' +
        '│ \u001b[33m*\u001b[39m +0.12 │ 2 * x\uFFFD[31m\n',
    );
    written = '';
    vi.stubEnv('FORCE_COLOR', '0');
    printMarked(text);
    expect(written).toBe(`${text.replace('\u001b', '\uFFFD')}\n`);
  });
});
