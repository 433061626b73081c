import { mkdirSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { SaxesParser } from 'saxes';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import { loadPlan } from '#bang/config/sweep.js';
import { FIGURE_KIND_NAMES, type FigureKindName } from '#bang/report/figure/figures.js';
import { bangInside, type Finished, workspace, type Workspace } from '../cli/bang.js';
import { readFileSync } from 'node:fs';
import { resultWith } from './entries.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const IMAGES = 40;
const published = (...parts: string[]): string =>
  readFileSync(path.join(packageRoot, 'results', ...parts), 'utf8');
const firstLines = (text: string, count: number): string =>
  text.split('\n').slice(0, count).join('\n') + '\n';

/** Two runs, a noise study and a sweep with one finished cell, all of them small. */
async function prepare(): Promise<string> {
  rmSync(space.file('all'), { recursive: true, force: true });
  for (const name of ['lenet-b1', 'lenet-r0'] as const) {
    const masking = {
      ...{ attacked: 40, blank: 1, fgsFails: 3, conclusion: 'Nothing follows.' },
      attacks: {
        fgs: { fooled: 37, fgsFails: 0, belowFgs: 0, belowPgd: null },
        'later-attack': { fooled: 2, fgsFails: 1, belowFgs: 1, belowPgd: null },
      },
    };
    const robust = { accuracy: [90, 80], medianLinf: 12 };
    const robustness = { budgets: [8, 16], attacks: { fgs: robust, worst: robust } };
    const result = resultWith(name, { row: { images: IMAGES, masking, robustness } });
    const write = (file: string, text: string): string => space.write(`all/${name}/${file}`, text);
    write('result.json', JSON.stringify(result, null, 2));
    write('config.yaml', `name: ${name}\n`);
    write('training.csv', firstLines(published('table1', name, 'seed-1', 'training.csv'), 8));
    const images = published('table1', name, 'seed-1', 'per-image.csv');
    write('per-image.csv', firstLines(images, IMAGES + 1));
  }
  for (const file of ['noise.csv', 'surfaces.csv', 'result.json', 'study.yaml', 'stages.csv']) {
    space.write(`all/study/${file}`, published('noise', 'lenet', file));
  }
  const base = `{ model: lenet, data: mnist, training: { trainOn: 50k, iterations: 20, batch: 10, learningRate: { policy: fixed, base: 0.1 }, momentum: 0, weightDecay: 0, shuffle: false } }`;
  const record = space.write(
    'all/sweep/sweep.yaml',
    `name: grid\nbase: ${base}\ngrid: { training.batch: [5, 6], training.momentum: [0, 0.5] }\n`,
  );
  const surfaces = 'accuracy,fgs_rate,hc1_pass,fgs_unmasked_linf'.split(',');
  const head = ['training.batch', 'training.momentum', 'seeds', ...surfaces];
  const lines = [5, 6].flatMap((x) => [0, 0.5].map((y) => `${x},${y},1,9,8,0.5,${x + y},1,1,1,1`));
  space.write(
    'all/sweep/surfaces.csv',
    `${[...head, ...surfaces.map((s) => `${s}_minus_reference`)].join()}\n${lines.join('\n')}\n`,
  );
  const [{ id, config }] = (await loadPlan(record)).cells;
  space.write(
    `all/sweep/cells/${id}/result.json`,
    JSON.stringify({ ...resultWith('lenet-b1'), config }),
  );
  return space.file('all');
}

const random = makeRandom(1, 'damages');
const below = (count: number): number => Math.floor(random.uniform() * count);

/** Kinds of damage: each changes a file in place. */
const DAMAGES: Record<string, (file: string) => void> = {
  'a letter of the first line is another': (file) => {
    const text = readFileSync(file, 'utf8');
    const at = below(text.split('\n')[0].length);
    overwrite(file, `${text.slice(0, at)}#${text.slice(at + 1)}`);
  },
  'text in place of a number': (file) => {
    inPlaceOfNumber(file, 'much');
  },
  'a huge number': (file) => {
    inPlaceOfNumber(file, ['1e308', '-1e308', '1e-320', '1e999', '-0', '9'.repeat(400)][below(6)]);
  },
  'an empty field': (file) => {
    inPlaceOfNumber(file, '');
  },
  truncated: (file) => {
    truncateSync(file, below(statSync(file).size));
  },
  empty: (file) => {
    truncateSync(file, 0);
  },
  'zero bytes': (file) => {
    const bytes = readFileSync(file);
    const at = below(bytes.length);
    bytes.fill(0, at, Math.min(bytes.length, at + 1 + below(100)));
    overwrite(file, bytes);
  },
  'bytes that are no text': (file) => {
    const bytes = readFileSync(file);
    bytes[below(bytes.length)] = 0xff;
    overwrite(file, bytes);
  },
  'control characters and markup': (file) => {
    const text = readFileSync(file, 'utf8');
    const at = below(text.length);
    overwrite(file, `${text.slice(0, at)}\u001b[2J</svg><![CDATA[\u0001&${text.slice(at)}`);
  },
  'a line twice': (file) => {
    const lines = readFileSync(file, 'utf8').split('\n');
    const at = below(lines.length);
    overwrite(file, [...lines.slice(0, at), lines[at], ...lines.slice(at)].join('\n'));
  },
  'a folder': (file) => {
    rmSync(file);
    mkdirSync(file);
  },
  'a pipe': (file) => {
    rmSync(file);
    expect(spawnSync('mkfifo', [file]).status).toBe(0);
  },
  'very large': (file) => {
    truncateSync(file, 2 ** 31);
  },
  missing: (file) => {
    rmSync(file);
  },
};

function overwrite(file: string, content: string | Uint8Array): void {
  space.write(path.relative(space.folder, file), content);
}

function inPlaceOfNumber(file: string, instead: string): void {
  const text = readFileSync(file, 'utf8');
  const numbers = [...text.matchAll(/(?<=[,\s])-?\d+(\.\d+)?(?=[,\s])/g)];
  const number = numbers.at(below(numbers.length));
  if (!number) return;
  overwrite(
    file,
    text.slice(0, number.index) + instead + text.slice(number.index + number[0].length),
  );
}

/** The files below a folder, without those that say what a sweep or a study is. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}

/** Done, or refused with one sentence: never a stack, never a defect. */
function expectWords({ code, stderr }: Finished): void {
  expect(stderr).not.toMatch(/defect of the program|^ +at |\bundefined\b|\[object|\bNaN\b/m);
  expect([0, 2]).toContain(code);
  for (const line of stderr.split('\n').slice(0, -1)) expect(line).toMatch(/^(note|bang): \S/);
  if (code === 2) expect(stderr.match(/^bang: .*$/gm)).toHaveLength(1);
  // eslint-disable-next-line no-control-regex
  expect(stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
}

function expectXml(svg: string): void {
  const parser = new SaxesParser({ xmlns: true });
  parser.on('error', (error) => {
    throw error;
  });
  parser.write(svg).close();
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
}

/** The figures of a page. */
function figuresIn(page: string): string[] {
  return [...page.matchAll(/data:image\/svg\+xml;base64,([\w+/=]+)/g)].map(([, text]) =>
    Buffer.from(text, 'base64').toString('utf8'),
  );
}

async function report(folder: string): Promise<{ finished: Finished; page: string }> {
  const out = space.file('page.html');
  rmSync(out, { force: true });
  const finished = await bangInside(['report', folder, '--examples', '0', '--out', out]);
  return { finished, page: finished.code === 0 ? space.read('page.html') : '' };
}

async function figure(name: FigureKindName, results: string[]): Promise<Finished> {
  const out = space.file('figures');
  const finished = await bangInside(['figure', name, ...results, '--format', 'svg', '--out', out]);
  if (finished.code === 0) expectXml(space.read('figures', `${name}.svg`));
  return finished;
}

describe('a damaged file', () => {
  beforeEach(prepare);

  it('is missed by nobody when it is whole', async () => {
    const { finished, page } = await report(space.file('all'));
    expect(finished).toMatchObject({ code: 0, stderr: '' });
    expect(figuresIn(page)).toHaveLength(10);
    expect(page).toContain('>later-attack<');
  });

  it.each([
    ['lenet-b1/training.csv', /training\.csv: line 3 has "much" as loss/, 10],
    ['lenet-b1/per-image.csv', /per-image\.csv: line 3 has "much" as predicted/, 10],
    ['study/noise.csv', /noise\.csv: line 3 has "much" as iteration/, 10],
    ['study/surfaces.csv', /surfaces\.csv: line 3 has "much" as sigma/, 8],
    ['sweep/surfaces.csv', /surfaces\.csv: line 3 has "much" as value/, 8],
    // Each figure is there in two widths.
  ])('%s is a note, and the rest is drawn', async (name, note, figures) => {
    const lines = space.read('all', name).split('\n');
    const fields = lines[2].split(',');
    fields[name.startsWith('study/noise') ? 1 : name.startsWith('sweep') ? 3 : 2] = 'much';
    lines[2] = fields.join(',');
    space.write(`all/${name}`, lines.join('\n'));
    const { finished, page } = await report(space.file('all'));
    expect(finished.code).toBe(0);
    expect(finished.stderr).toMatch(note);
    expect(finished.stderr.match(/^note: /gm)!.length).toBeLessThanOrEqual(2);
    expect(page).toContain('Left out');
    expect(figuresIn(page)).toHaveLength(figures);
  });

  it('never makes figures, tables, pages or differences fail otherwise than in words', async () => {
    const kinds = Object.values(DAMAGES);
    for (let turn = 0; turn < kinds.length + 1; turn++) {
      const folder = await prepare();
      const files = filesBelow(folder);
      const damaged = [files[below(files.length)], files[below(files.length)]];
      for (const file of new Set(damaged))
        kinds[(turn + damaged.indexOf(file)) % kinds.length](file);
      const [b1, r0, study, sweep] = ['lenet-b1', 'lenet-r0', 'study', 'sweep'].map((name) =>
        path.join(folder, name),
      );
      expectWords(await bangInside(['table', folder, '--no-write']));
      expectWords(await bangInside(['diff', b1, r0]));
      const runs = [b1, r0];
      switch (turn % 3) {
        case 0: {
          const { finished, page } = await report(folder);
          expectWords(finished);
          figuresIn(page).forEach(expectXml);
          const shown = page.replace(/<(script|style)[^]*?<\/\1>|data:[^"]*/g, '');
          expect(/.{40}\b(NaN|Infinity|undefined)\b/.exec(shown)).toBe(null);
          break;
        }
        case 1:
          expectWords(await figure('training', runs));
          expectWords(await figure('eta', runs));
          expectWords(await figure('linf', runs));
          break;
        case 2:
          expectWords(await figure('noise', [study]));
          expectWords(await figure('surfaces', [sweep]));
          expectWords(await bangInside(['sweep', 'status', sweep]));
      }
    }
  }, 240_000);
});

describe('a figure of hostile rows', () => {
  const NAMES = [
    'a\u0001\u001b[31m',
    '</svg><script>alert(1)</script>',
    ']]><!--&amp;"\'',
    '\ud800\uffff\u2028',
    'constructor',
    'ñ'.repeat(300),
    'data:\u0001',
  ];
  const NUMBERS = ['0', '1e308', '-1e308', '1e-320', '3e38', '-3e38', '1e-45', '', '7'];
  const COLUMNS: Record<
    FigureKindName,
    { texts: string[]; numbers: string[]; fixed: Record<string, string> }
  > = {
    training: {
      texts: ['network'],
      numbers: ['seed', 'iteration', 'loss', 'train_accuracy', 'validation_accuracy'],
      fixed: {},
    },
    eta: {
      texts: ['network', 'layer'],
      numbers: ['seed', 'iteration', 'eta_mean', 'eta_max'],
      fixed: {},
    },
    linf: {
      texts: ['network'],
      numbers: ['seed', 'from', 'to', 'images'],
      fixed: { attack: 'fgs' },
    },
    surfaces: {
      texts: ['x_key', 'y_key'],
      numbers: ['x', 'y', 'seeds', 'value', 'reference'],
      fixed: { surface: 'accuracy' },
    },
    noise: {
      texts: [],
      numbers: [
        ...['iteration', 'sigma', 'regular', 'bang', 'regular_error', 'bang_error', 'difference'],
        ...['difference_error', 'quoted_regular', 'quoted_bang'],
      ],
      fixed: {},
    },
    examples: {
      texts: ['network', 'training'],
      numbers: ['index', 'label', 'predicted', 'linf', 'pass'],
      fixed: { data: 'mnist', attack: 'hc1', image: 'data:image/png;base64,iVBORw0KGgo=' },
    },
  };
  const quoted = (field: unknown): string => `"${String(field).replaceAll('"', '""')}"`;

  it.each(FIGURE_KIND_NAMES)('%s is XML, or refused with its line', async (name) => {
    const { texts, numbers, fixed } = COLUMNS[name];
    const pick = <T>(of: readonly T[]): T => of[below(of.length)];
    const row = (value: (column: string) => string): string =>
      [...Object.values(fixed), ...texts.map((_, i) => NAMES[i]), ...numbers.map(value)]
        .map(quoted)
        .join();
    const head = [...Object.keys(fixed), ...texts, ...numbers].map(quoted).join();
    let drawn = 0;
    for (let turn = 0; turn < 24; turn++) {
      // First every number alone in a good row, then any.
      const alone = numbers[turn % numbers.length];
      const extreme = NUMBERS[(turn + Math.floor(turn / numbers.length)) % NUMBERS.length];
      const lines = [1, 2, 3].map((i) =>
        row((column) =>
          turn > 16 ? pick(NUMBERS) : column === alone && i === 2 ? extreme : String(i),
        ),
      );
      const named =
        texts.length === 0
          ? lines
          : lines.map((line, i) =>
              line.replace(quoted(NAMES[0]), quoted(NAMES[(turn + i) % NAMES.length])),
            );
      const file = space.write(`${name}.csv`, `${head}\n${named.join('\n')}\n`);
      const finished = await figure(name, [file]);
      expectWords(finished);
      if (finished.code === 2) expect(finished.stderr).toMatch(/\.csv: line \d has /);
      else drawn++;
    }
    expect(drawn).toBeGreaterThan(5);
  });
});
