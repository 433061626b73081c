import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Interrupted } from '../../base/errors.js';
import type { Progress, Task } from '../../base/progress.js';
import type { Galleries, GalleryOptions } from '../../experiment/galleries.js';

export type GalleryJob = Omit<GalleryOptions, 'progress' | 'signal'> & {
  folders: readonly string[];
};

export type FromGallery =
  | { kind: 'start'; task: number; label: string; total: number; unit: string }
  | { kind: 'update'; task: number; done: number; detail?: string }
  | { kind: 'finish'; task: number; summary?: string }
  | { kind: 'note'; line: string }
  | { kind: 'done'; galleries: Galleries }
  | { kind: 'failed'; message: string };

/**
 * Galleries of what is in the folders, drawn by another process of low priority, so that this one can serve
 * meanwhile. What goes wrong there is a note of the result.
 *
 * @throws Interrupted if the signal aborts
 */
export async function galleriesBeside(
  job: GalleryJob,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<Galleries> {
  const child = fork(fileURLToPath(new URL('./galleryProcess.js', import.meta.url)), {
    serialization: 'advanced',
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  const tasks = new Map<number, Task>();
  try {
    const galleries = await new Promise<Galleries>((resolve) => {
      const failed = (why: string): void => {
        resolve({ galleries: [], notes: [`no examples: ${why}`] });
      };
      child.on('message', (message: FromGallery) => {
        if (message.kind === 'done') resolve(message.galleries);
        else if (message.kind === 'failed') failed(message.message);
        else show(message, tasks, progress);
      });
      child.on('error', ({ message }) => {
        failed(message);
      });
      child.on('exit', (code, killer) => {
        failed(`the process that draws them ended (${killer ?? `exit code ${code}`})`);
      });
      child.send(job, () => undefined);
      if (signal.aborted) stop();
    });
    if (signal.aborted) throw new Interrupted('stopped');
    return galleries;
  } finally {
    signal.removeEventListener('abort', stop);
    for (const task of tasks.values()) task.finish();
  }
}

function show(
  message: Exclude<FromGallery, { kind: 'done' | 'failed' }>,
  tasks: Map<number, Task>,
  progress: Progress,
): void {
  if (message.kind === 'note') {
    progress.note(message.line);
  } else if (message.kind === 'start') {
    tasks.set(message.task, progress.start(message.label, message.total, message.unit));
  } else if (message.kind === 'update') {
    tasks.get(message.task)?.update(message.done, message.detail);
  } else {
    tasks.get(message.task)?.finish(message.summary);
    tasks.delete(message.task);
  }
}
