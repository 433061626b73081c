// The tables in README and docs/ that quote results/: each stands below a comment `<!-- numbers: NAME -->` and is made
// here from the files that it quotes. `npm run numbers` writes them; with --check it only says which are not as they
// should be.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'csv-parse/sync';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The lines of a CSV file in results/, as mappings. */
function csv(...file) {
  return parse(readFileSync(path.join(root, 'results', ...file)), { columns: true });
}

function fixed(text, digits) {
  return text === '' ? '–' : Number(text).toFixed(digits);
}

/** The line of an experiment in a table.csv: ours, over seeds, or published. */
function lineOf(lines, name, source) {
  return lines.find((line) => line.name === name && line.source === source);
}

/** A column of an experiment's line: the mean over seeds ± its deviation, where there are several. */
function oursIn(lines, name, column) {
  const over = lineOf(lines, name, 'over seeds');
  const mean = fixed(lineOf(lines, name, 'bang')[column], 2);
  return over ? `${mean} ± ${fixed(over[column], 2)}` : mean;
}

/** Published and ours in a table of the paper. */
function paperTable(folder) {
  const lines = csv(folder, 'table.csv');
  const columns = [
    ['accuracy, %', 'accuracy'],
    ['FGS-Rate, %', 'fgs_rate'],
    ['FGS-L∞', 'fgs_linf_mean'],
    ['HC1-Rate, %', 'hc1_rate'],
    ['HC1-L∞', 'hc1_linf_mean'],
  ];
  const rows = [...new Set(lines.map(({ name }) => name))].map((name) => {
    const published = lineOf(lines, name, 'published');
    return [
      published.row,
      ...columns.flatMap(([, column]) => [
        fixed(published[column], 2),
        oursIn(lines, name, column),
      ]),
    ];
  });
  return [['row', ...columns.flatMap(([title]) => [`${title}: published`, 'ours'])], ...rows];
}

/**
 * Trainings that are not the paper's beside those that are.
 *
 * @param trainings [folder, name, title] of each
 */
function beside(trainings, columns) {
  const rows = trainings.map(([folder, name, title]) => {
    const lines = csv(folder, 'table.csv');
    const seeds = lineOf(lines, name, 'bang').seeds.split(' ').length;
    return [title, String(seeds), ...columns.map(([, column]) => oursIn(lines, name, column))];
  });
  return [['training', 'seeds', ...columns.map(([title]) => title)], ...rows];
}

const CONTROLS = [
  ['accuracy, %', 'accuracy'],
  ['FGS-Rate, %', 'fgs_rate'],
  ['unmasked FGS-Rate, %', 'fgs_unmasked_rate'],
  ['unmasked FGS-L∞', 'fgs_unmasked_linf_mean'],
  ['HC1-L∞', 'hc1_linf_mean'],
  ['HC1-Rate, %', 'hc1_rate'],
];

const TABLES = {
  controls: () =>
    beside(
      [
        ['table1', 'lenet-r0', 'regular (R0)'],
        ['table1', 'lenet-b1', 'BANG (B1)'],
        ['controls', 'lenet-r0', 'R0, logits × 6.5'],
        ['controls', 'lenet-noise', 'noise of σ 50'],
        ['controls', 'lenet-smoothing', 'label smoothing of 0.1'],
        ['controls', 'lenet-fgs', 'FGS images, as many iterations'],
        ['controls', 'lenet-fgs-time', 'FGS images, as long'],
        ['controls', 'lenet-pgd-time', 'PGD images, as long'],
        ['controls', 'lenet-adaptive', 'BANG, adaptive ε'],
      ],
      CONTROLS,
    ),
  claims: () =>
    beside(
      [
        ['table1', 'lenet-r0', 'regular (R0)'],
        ['claims', 'lenet-r0-no-dropout', 'regular, without dropout'],
        ['table1', 'lenet-b1', 'BANG (B1)'],
        ['claims', 'lenet-b1-no-dropout', 'BANG, without dropout'],
        ['claims', 'lenet-b1-finetuned', "BANG, fine-tuning the authors' R0"],
      ],
      CONTROLS.filter(([, column]) => column !== 'fgs_unmasked_rate'),
    ),
  table1: () => paperTable('table1'),
  table2: () => paperTable('table2'),
};

function cellsOf(line) {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

const MARK = /<!-- numbers: (\S+) -->\n\n((?:\|.*\n)+)/g;
const check = process.argv.includes('--check');
const files = ['README.md', ...readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`)];
let wrong = 0;
for (const file of files.filter((name) => name.endsWith('.md'))) {
  const text = readFileSync(path.join(root, file), 'utf8');
  const written = text.replace(MARK, (all, name, table) => {
    const made = TABLES[name]();
    const found = table
      .trimEnd()
      .split('\n')
      .map(cellsOf)
      .filter((_, i) => i !== 1);
    if (JSON.stringify(found) === JSON.stringify(made)) return all;
    wrong++;
    process.stderr.write(`${file}: the table ${name} is not what results/ say\n`);
    const rule = made[0].map((_, i) => (i === 0 ? '---' : '--:'));
    const lines = [made[0], rule, ...made.slice(1)].map((cells) => `| ${cells.join(' | ')} |\n`);
    return `<!-- numbers: ${name} -->\n\n${lines.join('')}`;
  });
  if (!check && written !== text) writeFileSync(path.join(root, file), written);
}
if (check && wrong > 0) {
  process.stderr.write('`npm run numbers` writes them anew; read the sentences around them, too\n');
  process.exitCode = 1;
}
