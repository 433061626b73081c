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
