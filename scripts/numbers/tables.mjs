// The tables that quote results/, each a heading and rows of cells, by the names that their marks give.
import {
  csv,
  flipsOf,
  gridOf,
  json,
  leftWithin,
  lineOf,
  noiseRate,
  ofPoint,
  ofTable,
  sigmasOf,
} from './results.mjs';

const PAPER = json('paper-tables.json');

const fixed = (value, digits) => (Number.isNaN(value) ? '–' : value.toFixed(digits));
const signed = (value, digits) => (value < 0 ? '' : '+') + value.toFixed(digits);

/** A mean over seeds ± its deviation, where there are several. */
function withDeviation({ value, deviation }, digits = 2) {
  const mean = fixed(value, digits);
  return deviation === undefined ? mean : `${mean} ± ${fixed(deviation, digits)}`;
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
        fixed(Number(published[column]), 2),
        withDeviation(ofTable(folder, name, undefined, column)),
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
    const of = (column) => ofTable(folder, name, undefined, column);
    return [
      title,
      String(of('accuracy').seeds),
      ...columns.map(([, column]) =>
        withDeviation(column === NOISE ? noiseOf(folder, name) : of(column)),
      ),
    ];
  });
  return [['training', 'seeds', ...columns.map(([title]) => title)], ...rows];
}

const NOISE = 'noise';

/** Not of multiplied logits, which predict the same. */
function noiseOf(folder, name) {
  return folder === 'controls' && name.endsWith('-r0') ? { value: NaN } : noiseRate(name);
}

const CONTROLS = [
  ['accuracy, %', 'accuracy'],
  ['FGS-Rate, %', 'fgs_rate'],
  ['unmasked FGS-Rate, %', 'fgs_unmasked_rate'],
  ['unmasked FGS-L∞', 'fgs_unmasked_linf_mean'],
  ['HC1-L∞', 'hc1_linf_mean'],
  ['HC1-Rate, %', 'hc1_rate'],
];

const CLAIMS = CONTROLS.filter(([, column]) => column !== 'fgs_unmasked_rate');

/**
 * The accuracy that is left of each network.
 *
 * @param networks [title, name, seed or undefined for the mean over all] of each
 * @param columns [title, attack, budget] of each
 */
function left(networks, columns, digits = 2) {
  const rows = networks.map(([title, name, seed]) => [
    title,
    ...columns.map(([, attack, budget]) =>
      leftWithin(name, seed, attack, budget).value.toFixed(digits),
    ),
  ]);
  return [['', ...columns.map(([title]) => title)], ...rows];
}

/** What FGS leaves of networks within one budget, and the strongest attacks within several. */
function strongest(networks, ofFgs, budgets) {
  return left(networks, [
    ['clean', 'clean'],
    [`FGS ≤ ${ofFgs}`, 'fgs', ofFgs],
    ...budgets.map((budget) => [`worst ≤ ${budget}`, 'auto', budget]),
  ]);
}

/** What each attack leaves of two networks of one kind, regular and with BANG, means over seeds. */
function byAttack(kind, bang, budgets) {
  const networks = [
    ['R0 regular', `${kind}-r0`],
    [`${bang.toUpperCase()} BANG`, `${kind}-${bang}`],
  ];
  const attacks = [
    ['FGS', 'fgs'],
    ['unmasked FGS', 'fgs-unmasked'],
    ['HC1', 'hc1'],
    ['`auto`', 'auto'],
  ];
  const rows = attacks.flatMap(([attack, key]) =>
    networks.map(([title, name], i) => [
      i === 0 ? attack : '',
      title,
      ...budgets.map((budget) => leftWithin(name, undefined, key, budget).value.toFixed(2)),
    ]),
  );
  return [['attack', 'network', ...budgets.map((budget) => `≤ ${budget}`)], ...rows];
}

const LENET = [
  ['R0 regular (3 seeds)', 'lenet-r0'],
  ['B0 BANG', 'lenet-b0'],
  ['B1 BANG (3 seeds)', 'lenet-b1'],
  ['B2 BANG', 'lenet-b2'],
  ['B3 BANG', 'lenet-b3'],
  ['B4 BANG', 'lenet-b4'],
  ['B5 BANG', 'lenet-b5'],
  ['FGS images, as long', 'lenet-fgs-time'],
];

const CIFAR10 = [
  ...['r0', 'b0', 'b1', 'b2', 'b3', 'b4', 'b5'].map((row) => [
    `${row.toUpperCase()} ${row === 'r0' ? 'regular' : 'BANG'}`,
    `cifar10-${row}`,
  ]),
  ['noise of σ 20', 'cifar10-noise'],
  ['FGS images, as long', 'cifar10-fgs-time'],
];

/** The planes over a grid. */
async function grid(name, quantities) {
  const { keys, trends, valuesOf } = await gridOf(name);
  const rows = quantities.map(([title, quantity, column, digits]) => {
    const { reference, mean, rise, explained, scatter } = trends.find(
      (trend) => trend.quantity === quantity,
    );
    const values = valuesOf(column);
    const range = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
    return [
      title,
      reference.value.toFixed(digits),
      range.join(' – '),
      mean.toFixed(digits),
      ...rise.map((by) => signed(by, digits)),
      `${(100 * explained).toFixed(0)} %`,
      scatter.toFixed(digits),
    ];
  });
  const along = keys.map(
    ({ key, least, greatest }) =>
      `from ${key.endsWith('beta') ? 'β' : 'ε'} = ${least} to ${greatest}`,
  );
  const heading = ['over the grid', 'regular', 'points', 'mean', ...along, 'explained', 'scatter'];
  return [heading, ...rows];
}

const SURFACES = [
  ['accuracy, %', 'accuracy', 'accuracy', 2],
  ['FGS-Rate, %', 'fgs_rate', 'fgs_rate', 2],
  ['mean HC1-PASS', 'hc1_pass', 'hc1_pass_mean', 3],
  ['mean L∞ of unmasked FGS', 'fgs_unmasked_linf', 'fgs_unmasked_linf_mean', 2],
];

/** Misclassified distortions at the end of training, at the largest five σ. */
function noise(study, bang) {
  const sigmas = sigmasOf(study).slice(-5);
  const [last] = sigmas.slice(-1);
  const published = PAPER.noise[study];
  return [
    ['σ', ...sigmas.map(String), `published, ${last}`],
    ...[
      ['regular (R0)', 'regular'],
      [`BANG (${bang})`, 'bang'],
    ].map(([title, network]) => [
      title,
      ...sigmas.map((sigma) => withDeviation(flipsOf(study, network, sigma))),
      published[`${network}Percent`].toFixed(1),
    ]),
  ];
}

/** The layers of LeNet that have ε = 0.815 in results/grids/lenet-layers. */
const LAYERS = ['conv1', 'conv2', 'ip1', 'ip2'];

/** ε in some layers only. */
function layers() {
  const only = (title, having) => {
    const epsilon = LAYERS.map((layer) => [layer, having(layer) ? 0.815 : 0]);
    return [title, { 'training.bang.epsilon': JSON.stringify(Object.fromEntries(epsilon)) }];
  };
  const points = [
    ['none: regular', { reference: '1' }],
    ['all: B1', { 'training.bang.epsilon': '0.815' }],
    ...LAYERS.map((one) => only(`${one} alone`, (layer) => layer === one)),
    ...LAYERS.map((one) => only(`all but ${one}`, (layer) => layer !== one)),
  ];
  const rows = points.map(([title, settings]) => {
    const of = (column) => ofPoint('lenet-layers', settings, column);
    const seeds = String(of('accuracy').seeds);
    return [title, seeds, ...CLAIMS.map(([, column]) => withDeviation(of(column)))];
  });
  return [['BANG in', 'seeds', ...CLAIMS.map(([title]) => title)], ...rows];
}

export const TABLES = {
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
      [...CONTROLS, ['noise, %', NOISE]],
    ),
  'controls-cifar10': () =>
    beside(
      [
        ['table2', 'cifar10-r0', 'regular (R0)'],
        ['table2', 'cifar10-b0', 'BANG (B0)'],
        ['controls', 'cifar10-r0', 'R0, logits × 5'],
        ['controls', 'cifar10-noise', 'noise of σ 20'],
        ['controls', 'cifar10-smoothing', 'label smoothing of 0.1'],
        ['controls', 'cifar10-fgs-time', 'FGS images, as long'],
        ['controls', 'cifar10-pgd-time', 'PGD images, as long'],
        ['controls', 'cifar10-adaptive', 'BANG, adaptive ε'],
      ],
      [...CONTROLS, ['noise, %', NOISE]],
    ),
  claims: () =>
    beside(
      [
        ['table1', 'lenet-r0', 'regular (R0)'],
        ['claims', 'lenet-r0-no-dropout', 'regular, without dropout'],
        ['table1', 'lenet-b1', 'BANG (B1)'],
        ['claims', 'lenet-b1-no-dropout', 'BANG, without dropout'],
        ['claims', 'lenet-b1-finetuned', "BANG, fine-tuning the authors' R0"],
        ['table2', 'cifar10-b0', 'CIFAR-10 quick, BANG (B0)'],
        ['claims', 'cifar10-b0-ratio-1', 'B0, the same ε for all'],
      ],
      CLAIMS,
    ),
  layers,
  table1: () => paperTable('table1'),
  table2: () => paperTable('table2'),
  verdict: () =>
    left(
      [
        ['LeNet R0, regular (3 seeds)', 'lenet-r0'],
        ['LeNet B1, BANG (3 seeds)', 'lenet-b1'],
        ['LeNet, FGS images of ε 32 (1 seed)', 'lenet-fgs-time'],
      ],
      [
        ['clean', 'clean'],
        ['FGS, L∞ ≤ 77', 'fgs', 77],
        ['worst, ≤ 16', 'auto', 16],
        ['≤ 32', 'auto', 32],
        ['≤ 64', 'auto', 64],
      ],
      1,
    ),
  'robustness-lenet': () => strongest(LENET, 64, [8, 16, 32, 64]),
  'robustness-cifar10': () => strongest(CIFAR10, 8, [1, 2, 4, 8]),
  'attacks-lenet': () => byAttack('lenet', 'b1', [8, 16, 32, 64]),
  'attacks-cifar10': () => byAttack('cifar10', 'b0', [1, 2, 4, 8]),
  'grid-lenet': () => grid('lenet', SURFACES),
  'grid-cifar10': () => grid('cifar10-coarse', SURFACES),
  'noise-lenet': () => noise('lenet', 'B1'),
  'noise-cifar10': () => noise('cifar10', 'B0'),
};
