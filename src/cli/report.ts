import type { CommandModule } from 'yargs';
import { writeFileAtomic } from '../base/files.js';
import {
  type GalleryArguments,
  galleryOptions,
  interruptible,
  pageResults,
  perClassIn,
  refuseToReplace,
  textOption,
} from './options.js';
import { printFiles, printNotes } from './print.js';

interface ReportArguments extends GalleryArguments {
  results: string[];
  out: string;
}

export const reportCommand: CommandModule<object, ReportArguments> = {
  builder: (yargs) =>
    yargs
      .positional('results', pageResults)
      .options(textOption('out', 'the file'))
      .default('out', 'report.html')
      .options(galleryOptions)
      .example('$0 report runs', 'all results in runs, in report.html')
      .example('$0 report runs/table1 --out table1.html --examples 5', 'with more examples')
      .example('$0 view runs', 'the same in a browser, kept up to date')
      .epilog(
        'The file needs no network and no other file. The gallery is computed from the weights in the folders.',
      ) as never,
  handler: async ({ results, out, examples, engine, threads, dataDir }) => {
    const perClass = perClassIn(examples);
    const { collectResults, refuseEmpty } = await import('../report/page/contents.js');
    const { galleriesOf } = await import('../experiment/galleries.js');
    const { isPage, pageOf } = await import('../report/page/document.js');
    const { plotsOf } = await import('../report/page/plots.js');
    refuseToReplace('--out', out, 'a page of bang report', isPage);
    const collected = await collectResults(results);
    refuseEmpty(collected);
    const options = { perClass, engine: engine ?? ('auto' as const), threads, dataDir };
    const galleries =
      perClass === 0
        ? undefined
        : await interruptible(
            (signal, progress) => galleriesOf(collected.parts, { ...options, signal, progress }),
            { resumes: false },
          );
    const plots = await plotsOf(collected);
    const page = pageOf({ collected, galleries, plots });
    writeFileAtomic(out, page.html);
    printNotes([...collected.notes, ...plots.notes, ...(galleries?.notes ?? [])]);
    printFiles(`${out} (${(Buffer.byteLength(page.html) / 2 ** 20).toFixed(1)} MiB)`);
  },
};
