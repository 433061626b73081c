import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { consoleProgress } from '#bang/cli/consoleProgress.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** What a task of 1000 units says in a log, after `begin` of them were done before, at `speed` units a second. */
function logOf(begin: number, speed: number, seconds: number): string[] {
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += String(chunk);
      done();
    },
  });
  const task = consoleProgress(stream as unknown as NodeJS.WriteStream).start(
    'work',
    1000,
    'units',
  );
  for (let t = 0; t <= 10 * seconds; t++) {
    task.update(begin + (speed * t) / 10);
    vi.advanceTimersByTime(100);
  }
  return written.trim().split('\n');
}

it('a log says the time that is left from its first line on', () => {
  expect(logOf(0, 10, 46)).toEqual([
    'work: 150/1000 units, 1 min 25 s left ',
    'work: 300/1000 units, 1 min 10 s left ',
    'work: 450/1000 units, 55 s left',
  ]);
});

it('work that was done before counts for nothing', () => {
  expect(logOf(600, 2, 31)).toEqual([
    'work: 630/1000 units, 3 min 05 s left ',
    'work: 660/1000 units, 2 min 50 s left',
  ]);
});
