import type { CommandModule } from 'yargs';
import { UserError } from '../base/errors.js';
import {
  type GalleryArguments,
  galleryOptions,
  interruptible,
  pageResults,
  perClassIn,
  textOption,
} from './options.js';
import { print } from './print.js';

interface ViewArguments extends GalleryArguments {
  results: string[];
  port?: string;
}

export const viewCommand: CommandModule<object, ViewArguments> = {
  builder: (yargs) =>
    yargs
      .positional('results', pageResults)
      .options(textOption('port', 'the port on 127.0.0.1 (default: any free one)'))
      .options(galleryOptions)
      .example('$0 view runs', 'prints an address to open')
      .example('$0 view runs/lenet --port 8000', 'a sweep that is running in another terminal')
      .epilog(
        'The page is that of bang report, and changes with the folders. Its address has a secret part: who knows it, on this machine, can read the page. Ctrl-C ends it.',
      ) as never,
  handler: async ({ results, port, examples, engine, threads, dataDir }) => {
    const options = {
      port: portIn(port),
      perClass: perClassIn(examples),
      ...{ engine: engine ?? ('auto' as const), threads, dataDir },
    };
    const { view } = await import('../report/page/view.js');
    await interruptible(
      (signal, progress) =>
        view(results, {
          ...options,
          signal,
          progress,
          ready: (url) => {
            print(`${url} (Ctrl-C ends it)`);
          },
        }),
      { resumes: false },
    );
  },
};

function portIn(port: string | undefined): number {
  if (port === undefined) return 0;
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (number >= 1 && number <= 65535) return number;
  throw new UserError(`--port: expected a whole number from 1 to 65535, found ${port}`);
}
