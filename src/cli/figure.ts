import path from 'node:path';
import type { CommandModule } from 'yargs';
import { ATTACK_NAMES, type AttackName } from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import { figureRows } from '../report/figure/rowsOfResults.js';
import { writeFileAtomic } from '../base/files.js';
import { drawFigure, FIGURE_KIND_NAMES, type FigureKindName } from '../report/figure/figures.js';
import { renderPng } from '../report/figure/render.js';
import { isResultFolder } from '../store/resultFolder.js';
import { toCsv } from '../store/csvFile.js';
import { NARROW, WIDE } from '../report/figure/theme.js';
import { flag, interruptible, likeOneOf, namesIn, shared, textOption } from './options.js';
import { printFiles, printNotes } from './print.js';

const FORMATS = ['svg', 'png'] as const;
type Format = (typeof FORMATS)[number];

interface FigureArguments {
  name: FigureKindName;
  results: string[];
  out: string;
  format: Format[];
  narrow: boolean;
  attack?: AttackName;
  beside?: AttackName | 'none';
  threads?: number;
  dataDir?: string;
}

export const figureCommand: CommandModule<object, FigureArguments> = {
  builder: (yargs) =>
    yargs
      .positional('name', {
        choices: FIGURE_KIND_NAMES,
        coerce: likeOneOf(FIGURE_KIND_NAMES),
        demandOption: true,
        describe: 'which figure',
      })
      .positional('results', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'folders of results, or the CSV file of a figure to redraw',
      })
      .options(textOption('out', 'where NAME.svg, NAME.png and NAME.csv go'))
      .default('out', 'figures')
      .option('format', {
        type: 'string',
        requiresArg: true,
        coerce: namesIn('format', FORMATS),
        default: FORMATS.join(','),
        describe: 'svg, png, or both',
      })
      .option('narrow', flag('panels below each other, for a phone or a page with two columns'))
      .option('attack', {
        choices: ATTACK_NAMES,
        coerce: likeOneOf(ATTACK_NAMES),
        defaultDescription: '"hc1"',
        describe: 'the attack that makes the examples',
      })
      .option('beside', {
        choices: [...ATTACK_NAMES, 'none'] as const,
        coerce: likeOneOf([...ATTACK_NAMES, 'none']),
        defaultDescription: '"fgs-unmasked"',
        describe: 'with HC1, the attack that is shown, too, where it needs a smaller L∞',
      })
      .options({ threads: shared.threads, 'data-dir': shared['data-dir'] })
      .example('$0 figure training runs/lenet-r0 runs/lenet-b1', 'loss and accuracy of two runs')
      .example('$0 figure examples runs/lenet-r0 runs/lenet-b1', "the paper's Figure 1")
      .example('$0 figure surfaces runs/lenet --out paper', "a sweep, as the paper's Figure 2")
      .example('$0 figure linf figures/linf.csv', 'the same figure again')
      .epilog('NAME.csv holds the numbers in the figure.') as never,
  handler: async ({ name, results, out, format, narrow, ...forExamples }) => {
    const { attack = 'hc1', beside = 'fgs-unmasked', threads, dataDir } = forExamples;
    if (name !== 'examples') {
      const given = { attack: forExamples.attack, beside: forExamples.beside, 'data-dir': dataDir };
      const [option] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
      if (option)
        throw new UserError(`--${option} is for the figure examples, ${name} has no use for it`);
    }
    if (isResultFolder(out)) {
      throw new UserError(
        `--out ${out}: that is a folder of results, whose files must not change; name another`,
      );
    }
    const { rows, notes } = await interruptible(
      (signal, progress) =>
        figureRows(name, results, { attack, beside, threads, dataDir, progress, signal }),
      { resumes: false },
    );
    const svg = await drawFigure(name, rows, narrow ? NARROW : WIDE);
    printNotes(notes);
    const contents = {
      ...(format.includes('svg') && { svg }),
      ...(format.includes('png') && { png: await renderPng(svg) }),
      csv: toCsv(rows),
    };
    const files = Object.entries(contents).map(([ending, content]) => {
      const file = path.join(out, `${name}.${ending}`);
      writeFileAtomic(file, content);
      return file;
    });
    printFiles(...files);
  },
};
