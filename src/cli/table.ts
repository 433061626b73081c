import path from 'node:path';
import type { CommandModule } from 'yargs';
import { messageOf, UserError } from '../base/errors.js';
import {
  findRuns,
  groupRuns,
  isRunFolder,
  leftOut,
  refuseNothing,
  tablesOf,
} from '../store/collect.js';
import { writeFileAtomic } from '../base/files.js';
import { noiseRatesCsv, tableCsv } from '../store/csv.js';
import { consoleReport, markdownReport } from '../report/tables.js';
import { textOption } from './options.js';
import { print, printFiles, printMarked, printNotes, terminalWidth } from './print.js';

interface TableArguments {
  folders: string[];
  out?: string;
  noWrite: boolean;
}

export const tableCommand: CommandModule<object, TableArguments> = {
  builder: (yargs) =>
    yargs
      .positional('folders', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'folders that contain result folders, at any depth',
      })
      .options(
        textOption(
          'out',
          'where table.csv and table.md go (default: the folder, if there is only one)',
        ),
      )
      .option('no-write', {
        type: 'boolean',
        default: false,
        describe: 'only print, without writing table.csv and table.md',
      })
      .example('$0 table results/table1', 'the runs of a folder as Table 1')
      .example('$0 table runs --no-write', 'only print it')
      .example('$0 table here there --out both', 'seeds computed in two places, in one table')
      .epilog(
        'Runs that differ only in the seed make one line: the mean of their numbers, and below it the standard deviation over seeds.',
      ) as never,
  handler: ({ folders, out, noWrite }) => {
    if (noWrite && out !== undefined) throw new UserError('--no-write writes nothing to --out');
    const place = noWrite ? { notes: [] } : placeOf(folders, out);
    const found = findRuns(folders);
    refuseNothing(found, folders);
    const { groups, notes } = groupRuns(found.runs);
    const parts = tablesOf(groups);
    printMarked(consoleReport(parts, terminalWidth()));
    printNotes([...leftOut(found), ...notes, ...place.notes]);
    if (place.folder === undefined) return;
    const entries = parts.flatMap((part) => part.entries);
    const files = {
      'table.csv': tableCsv(entries),
      'table.md': markdownReport(parts),
      ...(entries.some(({ rows }) => rows.some(({ noise }) => noise)) && {
        'noise.csv': noiseRatesCsv(entries),
      }),
    };
    const written = Object.entries(files).map(([name, content]) => {
      const file = path.join(place.folder!, name);
      try {
        writeFileAtomic(file, content);
      } catch (error) {
        throw new UserError(`${messageOf(error)}; --no-write only prints`);
      }
      return file;
    });
    print('');
    printFiles(...written);
  },
};

/** Where the files go; never the folder of a run, whose files must not change. */
function placeOf(
  folders: readonly string[],
  out: string | undefined,
): { folder?: string; notes: string[] } {
  if (out !== undefined) {
    if (!isRunFolder(out)) return { folder: out, notes: [] };
    throw new UserError(`--out ${out}: that is the folder of a run, which has its own table`);
  }
  const how = '--out FOLDER says where';
  if (folders.length > 1) {
    return { notes: [`for several folders, no files are written: ${how}`] };
  }
  const [folder] = folders;
  if (!isRunFolder(folder)) return { folder, notes: [] };
  return { notes: [`${folder} is the folder of a run, so no files are written: ${how}`] };
}
