/** Where long work says how far it is. The command line shows it; tests and libraries are silent. */
export interface Progress {
  /** Starts a task of `total` units; `unit` names them for the reader (`images`, `iterations`). */
  start(label: string, total: number, unit: string): Task;
  /** A line worth reading once, such as a warning. */
  note(line: string): void;
}

export interface Task {
  /**
   * `done` units of the task's total are done, in all, those begun counted in part; `detail` is
   * shown beside.
   */
  update(done: number, detail?: string): void;
  /** Ends the task, with one line that remains. */
  finish(summary?: string): void;
}

/** Progress that nobody watches. */
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
