/** The program of a process that draws the galleries; `galleriesBeside` starts it. */
import os from 'node:os';
import { messageOf } from '../../base/errors.js';
import type { Progress } from '../../base/progress.js';
import { collectResults } from './contents.js';
import { galleriesOf } from '../../experiment/galleries.js';
import type { FromGallery, GalleryJob } from './galleriesBeside.js';

// The runs that are watched come first.
os.setPriority(os.constants.priority.PRIORITY_LOW);
// Ctrl-C reaches every process of a terminal; the parent process decides what ends.
for (const name of ['SIGINT', 'SIGHUP'] as const) process.on(name, () => undefined);
process.on('disconnect', () => process.exit(1));

const send = (message: FromGallery): void => void process.send?.(message);

/** Ends the process as soon as the message is out. */
function end(message: FromGallery): void {
  process.send?.(message, () => {
    process.disconnect();
  });
}

let tasks = 0;
const progress: Progress = {
  start(label, total, unit) {
    const task = tasks++;
    send({ kind: 'start', task, label, total, unit });
    return {
      update: (done, detail) => {
        send({ kind: 'update', task, done, detail });
      },
      finish: (summary) => {
        send({ kind: 'finish', task, summary });
      },
    };
  },
  note: (line) => {
    send({ kind: 'note', line });
  },
};

process.once('message', ({ folders, ...options }: GalleryJob) => {
  collectResults(folders)
    .then(({ parts }) => galleriesOf(parts, { ...options, progress }))
    .then(
      (galleries) => {
        end({ kind: 'done', galleries });
      },
      (error: unknown) => {
        end({ kind: 'failed', message: messageOf(error) });
      },
    );
});
