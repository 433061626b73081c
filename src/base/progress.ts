/** Receives the progress of long-running work. The command line displays it. */
export interface Progress {
  /** Starts a task of `total` units; `unit` is their name for display (`images`, `iterations`). */
  start(label: string, total: number, unit: string): Task;
  /** Displays one line, such as a warning. */
  note(line: string): void;
}

export interface Task {
  /**
   * Sets the number of units done so far, which may include a fraction of those in progress;
   * `detail` is displayed beside it.
   */
  update(done: number, detail?: string): void;
  /** Ends the task; `summary` remains visible. */
  finish(summary?: string): void;
}

/** Ignores all progress. */
export const silent: Progress = {
  start: () => ({ update: () => undefined, finish: () => undefined }),
  note: () => undefined,
};

/** A duration for people: `4.2 s`, `3 min 05 s`, `2 h 07 min`. */
export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}
