import { MultiBar, type SingleBar } from 'cli-progress';
import { barLine, type BarState } from './barLine.js';
import { printableText } from '../base/text.js';
import { duration, type Progress, type Task } from '../base/progress.js';
import { type Mark, timeLeft } from '../store/timeLeft.js';

/** Interval between lines where bars cannot be drawn (a log file, a CI job). */
const LINE_EVERY_MS = 15_000;

export interface ConsoleProgress extends Progress {
  /** Removes the bars of unfinished tasks, which would keep the process alive. */
  close(): void;
}

type BarPayload = Pick<BarState, 'label' | 'remaining' | 'detail'>;

/** Progress on stderr: bars on a terminal that can move its cursor, otherwise occasional lines. */
export function consoleProgress(stream: NodeJS.WriteStream = process.stderr): ConsoleProgress {
  return stream.isTTY && process.env.TERM !== 'dumb' ? bars(stream) : lines(stream);
}

function bars(stream: NodeJS.WriteStream): ConsoleProgress {
  const open = new Map<() => void, MultiBar>();
  return {
    start(label, total, unit) {
      const multi = new MultiBar({
        stream,
        format: (_options, { progress: share, value, total }, payload: BarPayload) =>
          // The last column stays free: some terminals begin a new line when it is written to.
          barLine({ ...payload, share, value, total, unit }, (stream.columns || 80) - 1),
        hideCursor: true,
        clearOnComplete: true,
        stopOnComplete: false,
        emptyOnZero: true,
        fps: 8,
      });
      const clock = remainingTime(total);
      const bar: SingleBar = multi.create(total, 0, { label, detail: '', remaining: '…' });
      const takeDown = (): void => {
        if (!open.delete(takeDown)) return;
        multi.remove(bar);
        multi.stop();
      };
      open.set(takeDown, multi);
      const task: Task = {
        update(done, detail = '') {
          bar.update(Math.floor(done), { detail, remaining: clock(done) });
        },
        finish(summary) {
          takeDown();
          if (summary !== undefined) stream.write(`${label}: ${summary}\n`);
        },
      };
      return task;
    },
    note(line) {
      const [bar] = open.values();
      const text = `${printableText(line)}\n`;
      // Above the bar, which is redrawn below.
      if (bar as MultiBar | undefined) bar.log(text);
      else stream.write(text);
    },
    close() {
      for (const takeDown of open.keys()) takeDown();
    },
  };
}

function lines(stream: NodeJS.WriteStream): ConsoleProgress {
  return {
    start(label, total, unit) {
      const clock = remainingTime(total);
      let last = performance.now();
      return {
        update(done, detail = '') {
          const remaining = clock(done);
          const now = performance.now();
          if (now - last < LINE_EVERY_MS) return;
          last = now;
          stream.write(
            `${label}: ${Math.floor(done)}/${total} ${unit}, ${remaining} left ${detail}\n`,
          );
        },
        finish(summary) {
          if (summary !== undefined) stream.write(`${label}: ${summary}\n`);
        },
      };
    },
    note(line) {
      stream.write(`${printableText(line)}\n`);
    },
    close: () => undefined,
  };
}

/** The time that is left, at the speed since the first call; to be called at every update. */
function remainingTime(total: number): (done: number) => string {
  let first: Mark | undefined;
  return (done) => {
    const now = { done, at: performance.now() };
    // Work done before this process began (a resumed run) says nothing about its speed.
    first ??= now;
    const left = timeLeft(first, now, total);
    return left === undefined ? '…' : duration(left);
  };
}
