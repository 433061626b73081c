import type { AttackName } from '../../attacks/attack.js';
import { ATTACKS } from '../../attacks/run.js';
import { CLASS_NAMES } from '../../data/shapes.js';
import type { DataName } from '../../data/sources.js';
import type { FoundRun, Group, TablePart } from '../../store/collect.js';
import type { Entry } from '../../store/entry.js';
import { legendOf, protocolSentences } from '../lines.js';
import { printable } from '../../base/text.js';
import { blankSentence, maskingGrid, maskingSentence } from '../masking.js';
import { noiseGrid, noiseSentences } from '../noise.js';
import { PAIR } from '../../metrics/noise.js';
import { comparisons, hiddenByFgs } from '../tables.js';
import { publishedNoise } from '../../paper/published.js';
import { robustnessGrid } from '../robustness.js';
import { bestOf, pointsOf } from '../../sweep/summary.js';
import { paretoLines, pointGrid } from '../pointGrid.js';
import { trendGrid, TRENDS } from '../trends.js';
import { trendsOf } from '../../sweep/trends.js';
import { transferGrid } from '../transfer.js';
import type {
  Collected,
  FoundStudy,
  FoundSweep,
  FoundTransfer,
  UnfinishedRun,
} from './contents.js';
import type { Example, NetworkExamples, Original } from '../../experiment/gallery.js';
import type { Galleries, Gallery } from './galleries.js';
import { type Content, type Html, html } from './html.js';
import type { Plot, Plots } from './plots.js';
import { magnification, perturbationOf, pictureOf } from './pictures.js';
import { provenanceOf } from './provenanceSection.js';
import { entriesTable, gridTable } from './htmlTables.js';

/** All that a page is made of. */
export interface PageContent {
  collected: Collected;
  galleries: Galleries;
  plots: Plots;
}

/** A part of the page, with an entry in its contents. */
export interface Section {
  /** Names it as long as it is the same: the page in a browser replaces those that have changed. */
  id: string;
  title: string;
  body: Content;
}

/** All that there is to show, in the order in which it is read. */
export function sectionsOf({ collected, galleries, plots }: PageContent): Section[] {
  const { parts, sweeps, studies, transfers, unfinished, notes } = collected;
  const sweepIds = idsOf(
    'sweep',
    sweeps.map(({ name }) => name),
  );
  const studyIds = idsOf(
    'noise',
    studies.map(({ result }) => result.name),
  );
  const all = [
    atWork(unfinished, sweeps),
    ...parts.map(({ title, entries }) => tableSection(title, entries, plots.get(title))),
    robustness(parts),
    transferSection(transfers),
    ...sweeps.map((sweep, i) => sweepSection(sweepIds[i], sweep, plots.get(sweep.folder))),
    ...studies.map((study, i) => studySection(studyIds[i], study, plots.get(study.folder))),
    gallerySection(galleries, parts.length > 0),
    provenanceSection(parts.flatMap((part) => part.groups)),
    leftOut([...notes, ...galleries.notes]),
  ];
  return all.flatMap((section) => section ?? []);
}

function list(items: readonly Content[]): Html {
  return html`<ul>
    ${items.map((item) => html`<li>${item}</li> `)}
  </ul>`;
}

/** The `id`s of parts that may have the same name: of two, the second is numbered. */
function idsOf(kind: string, names: readonly string[]): string[] {
  const slugs = names.map(slug);
  return slugs.map((one, i) => {
    const before = slugs.slice(0, i).filter((other) => other === one).length;
    return `${kind}-${one}${before === 0 ? '' : `_${before + 1}`}`;
  });
}

/** A name as a part of an `id`: letters, digits and hyphens. */
function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, (other) =>
      /^[ :./-]+$/.test(other) ? '-' : `-${Buffer.from(other).toString('hex')}-`,
    );
}

function atWork(
  unfinished: readonly UnfinishedRun[],
  sweeps: readonly FoundSweep[],
): Section | undefined {
  const running = sweeps.filter((sweep) => sweep.running);
  if (unfinished.length + running.length === 0) return undefined;
  const runs = unfinished.map((run) => {
    const { folder, name, iterations, last } = run;
    const bar =
      last &&
      iterations !== undefined &&
      html`<progress
        max="${iterations}"
        value="${last.iteration}"
        aria-label="Iterations of ${name ?? folder}"
      ></progress> `;
    return html`${bar}<b>${printable(name ?? folder)}</b> ${stateOf(run)}
      <small>${printable(folder)}</small>`;
  });
  const others = running.map(({ name, cells }) => {
    const done = cells.filter(({ state }) => state === 'done').length;
    return html`<progress
        max="${cells.length}"
        value="${done}"
        aria-label="Cells of ${name}"
      ></progress>
      <b>${printable(name)}</b> sweep: ${done} of ${cells.length} cells done`;
  });
  return { id: 'at-work', title: 'Not finished', body: list([...others, ...runs]) };
}

function stateOf({ iterations, last, isTrained, attacks }: UnfinishedRun): string {
  if (isTrained) {
    const done = attacks.flatMap((name) =>
      name in ATTACKS ? ATTACKS[name as AttackName].title : [],
    );
    return `is trained; attacks that are finished: ${done.length === 0 ? 'none yet' : done.join(', ')}`;
  }
  if (!last) return 'has begun';
  const of = iterations === undefined ? '' : ` of ${iterations}`;
  const validation =
    last.validation === undefined ? '' : `, validation accuracy ${last.validation} %`;
  return `iteration ${last.iteration}${of}, loss ${last.loss.toPrecision(3)}${validation}`;
}

function tableSection(
  title: string,
  entries: readonly Entry[],
  plots: readonly Plot[] = [],
): Section {
  const id = slug(title);
  return {
    id,
    title,
    body: [
      entriesTable(
        `${id}-table`,
        'Ours, published, and the difference. Press a heading to sort.',
        entries,
      ),
      html`<div class="notes">
        ${[...legendOf(entries), ...protocolSentences(entries)].map((line) => html`<p>${line}</p> `)}
      </div>`,
      truth(entries),
      plotFigures(title, plots),
    ],
  };
}

/** What the FGS columns hide: in full of one experiment, in brief of several. */
function truth(entries: readonly Entry[]): Content {
  const sentences = entries.flatMap(({ rows }) => maskingSentence(rows) ?? []);
  if (sentences.length === 0) return undefined;
  const lines = hiddenByFgs(entries)[0].slice(1);
  const body =
    sentences.length === 1
      ? html`<p>${sentences[0]}</p>`
      : [
          html`<p>
            In percent of the correctly classified images. A gradient is blank where the float32
            loss is exactly 0; unmasked FGS follows the gradient of the log-odds, which cannot
            underflow.
          </p>`,
          list(lines),
        ];
  return html`<div class="truth">
    <h3>What FGS-Rate hides</h3>
    ${body}
  </div>`;
}

function robustness(parts: readonly TablePart[]): Section | undefined {
  const known = parts
    .flatMap(({ entries }) => entries)
    .flatMap((entry) => {
      const grid = robustnessGrid(entry);
      return grid ? [{ entry, grid }] : [];
    });
  if (known.length === 0) return undefined;
  const each = known.map(({ entry, grid }, i) => {
    const title = [entry.name, ...entry.labels].join(', ');
    const masking = entry.rows.flatMap((row, n) => {
      if (!row.masking) return [];
      const id = `masking-${i}-${n}`;
      const of = entry.rows.length > 1 ? `${title}, seed ${entry.seeds[n]}` : title;
      return [
        gridTable(
          id,
          html`Masking in ${of}: ${blankSentence(row.masking)}. Numbers of images.`,
          maskingGrid(row.masking),
        ),
        html`<p class="conclusion">${row.masking.conclusion}</p>`,
      ];
    });
    const tables = [
      gridTable(
        `robustness-${i}`,
        html`Accuracy of ${title} in percent, when each pixel may change by so much (L∞ in pixel
        units).`,
        grid,
      ),
      masking,
    ];
    if (known.length === 1) return [html`<h3>${title}</h3>`, tables];
    return html`<details data-key="robustness ${title}">
      <summary><b>${title}</b>: all attacks, masking</summary>
      ${tables}
    </details> `;
  });
  // Of one network it would say again what is below.
  const beside = known.length === 1 ? [] : comparisons(parts);
  const body = [
    beside.map(({ title, grid }, i) =>
      gridTable(
        `compared-${i}`,
        html`${title}. “worst” meets each image with the attack that needs least.`,
        grid,
      ),
    ),
    each,
  ];
  return { id: 'robustness', title: 'Robust accuracy and masking', body };
}

function transferSection(transfers: readonly FoundTransfer[]): Section | undefined {
  if (transfers.length === 0) return undefined;
  const body = transfers.map(({ folder, transfers: found }, i) =>
    gridTable(
      `transfer-${i}`,
      html`Perturbations that fool the network they were made on, tried on the other.
        <small>${printable(folder)}</small>`,
      transferGrid(found),
    ),
  );
  return { id: 'transfer', title: 'Transfer', body };
}

function sweepSection(
  id: string,
  { folder, name, keys, cells, running }: FoundSweep,
  plots: readonly Plot[] = [],
): Section {
  const count = (state: (typeof cells)[number]['state']): number =>
    cells.filter((cell) => cell.state === state).length;
  const states = [
    `${count('done')} of ${cells.length} cells are done`,
    ...(count('failed') > 0 ? [`${count('failed')} failed`] : []),
    ...(count('stopped') > 0 ? [`${count('stopped')} were stopped early`] : []),
    ...(running ? ['a process is at work'] : []),
  ];
  const failed = cells.filter(({ state }) => state === 'failed');
  const front = paretoLines(keys, cells);
  const trends = trendsOf(keys, cells);
  return {
    id,
    title: `Sweep ${printable(name)}`,
    body: [
      html`<p>
        ${states.join(', ')}. ${bestOf(keys, cells).map((best) => `${best}. `)}<small
          >${printable(folder)}</small
        >
      </p>`,
      gridTable(
        `${id}-points`,
        html`The points of ${printable(name)}, means over seeds; the line without values is the
        reference.`,
        pointGrid(keys, pointsOf(cells)),
      ),
      plotFigures(name, plots),
      trends && gridTable(`${id}-trends`, html`${TRENDS}`, trendGrid(trends)),
      front.length > 0 && [
        html`<h3>Pareto front</h3>
          <p>Of accuracy and the mean L∞ that unmasked FGS needs, the most accurate first.</p>`,
        list(front),
      ],
      failed.length > 0 && [
        html`<h3>Failed</h3>`,
        list(failed.map(({ id: cell, error }) => html`<b>${cell}</b>: ${printable(error ?? '')}`)),
      ],
    ],
  };
}

function studySection(
  id: string,
  { folder, result }: FoundStudy,
  plots: readonly Plot[] = [],
): Section {
  const { name, config, rows } = result;
  const [regular, bang] = PAIR.map((key) => printable(config.networks[key].name));
  const quoted = config.published && publishedNoise(config.published);
  return {
    id,
    title: `Noise study ${printable(name)}`,
    body: [
      gridTable(
        `${id}-table`,
        html`Random distortions that are classified wrongly, in percent.
          <small>${printable(folder)}</small>`,
        noiseGrid(rows, { regular, bang }, quoted),
      ),
      html`<div class="notes">
        ${noiseSentences(rows, result).map((line) => html`<p>${line}</p> `)}
      </div>`,
      plotFigures(name, plots),
    ],
  };
}

/** What each figure is, for its caption and for those who do not see it. */
const PLOT_TEXTS: Record<Plot['name'], [caption: string, alt: string]> = {
  linf: [
    'The smallest L∞ that fools each network, a histogram for each attack; the bar above each tells how many images are fooled at all.',
    'Histograms of the smallest L∞, a row for each network and a column for each attack',
  ],
  training: [
    'Loss and accuracy over the iterations of training.',
    'Curves of loss and accuracy over the iterations, a line for each network',
  ],
  eta: [
    'η, the factors by which BANG scales gradients, of each layer over training.',
    'Curves of η over the iterations, a panel for each layer',
  ],
  surfaces: [
    'The sweep as surfaces over its two keys.',
    'Heat maps of accuracy, FGS and HC1 over the two keys of the sweep',
  ],
  noise: [
    'Distortions that are classified wrongly, over training and σ.',
    'Heat maps of the share of distortions that are classified wrongly, over training and σ',
  ],
};

/** Figures as images, in which no script runs and no rule of the page holds. */
function plotFigures(of: string, plots: readonly Plot[]): Html[] {
  return plots.map(({ name, svg, csv }) => {
    const [caption, alt] = PLOT_TEXTS[name];
    const address = (type: string, text: string): string =>
      `data:${type};base64,${Buffer.from(text).toString('base64')}`;
    return html`<figure class="plot">
      <div class="box" role="group" aria-label="${alt}" tabindex="0">
        <img src="${address('image/svg+xml', svg)}" alt="${alt}, of ${of}" />
      </div>
      <figcaption>
        ${caption} <a download="${name}.csv" href="${address('text/csv', csv)}">Data as CSV</a>
      </figcaption>
    </figure>`;
  });
}

const DATA_TITLES: Record<DataName, string> = { mnist: 'MNIST', cifar10: 'CIFAR-10' };

function gallerySection(
  { galleries, notes, isOld = false }: Galleries,
  hasRuns: boolean,
): Section | undefined {
  if (!hasRuns) return undefined;
  const none = html`<p>
    There are no examples: no folder of these runs holds weights from which they could be computed.
    <code>bang run</code> leaves them there.
  </p>`;
  const isNone = galleries.length + notes.length === 0;
  const body = [
    isOld && html`<p>Examples are being computed.</p>`,
    isNone && !isOld && none,
    galleries.map((gallery, i) => galleryBody(gallery, `gallery-${i}`)),
  ];
  return { id: 'gallery', title: 'Adversarial examples', body };
}

function galleryBody(gallery: Gallery, id: string): Html {
  const { data, isOriginal, examples, differing, compared } = gallery;
  const { originals, networks } = examples;
  const className = (label: number): string =>
    isOriginal ? CLASS_NAMES[data][label] : String(label);
  const labels = [...new Set(originals.map(({ label }) => label))];
  const attacks = [...new Set(networks.flatMap((one) => one.examples.map(({ attack }) => attack)))];
  const choice = (
    name: string,
    title: string,
    options: readonly (readonly [string, string])[],
  ): Html =>
    html`<label
      >${title}
      <select name="${name}">
        <option value="">all</option>
        ${options.map(([value, text]) => html`<option value="${value}">${text}</option>`)}
      </select></label
    > `;
  const agreement =
    compared > 0 &&
    (differing === 0
      ? ` Their L∞ is that of per-image.csv, for all ${compared}.`
      : ` The L∞ of ${differing} of ${compared} is not that of per-image.csv: another engine may have computed that.`);
  return html`<div class="gallery" id="${id}">
    <h3>${DATA_TITLES[data]}</h3>
    <p>
      Test images as the attacks changed them, and below each what was added, scaled so that its
      largest change is black or white; grey is no change.${agreement}
    </p>
    <form class="filter" aria-label="Which examples of ${DATA_TITLES[data]} are shown">
      ${choice(
        'class',
        'Class',
        labels.map((label) => [String(label), className(label)]),
      )}${choice(
        'attack',
        'Attack',
        attacks.map((attack) => [attack, ATTACKS[attack].title]),
      )}${choice(
        'row',
        'Network',
        networks.map(({ name }) => [name, name]),
      )}<output></output>
    </form>
    ${originals.map((original, i) => exampleGroup(original, i, gallery, className))}
  </div>`;
}

function exampleGroup(
  original: Original,
  index: number,
  { shape, examples }: Gallery,
  className: (label: number) => string,
): Html {
  const { position, label, pixels } = original;
  const title = `Test image ${position}: ${className(label)}`;
  const boxes = examples.networks.map((network) => {
    const isRight = network.predicted[index] === label;
    const cards = network.examples
      .filter((example) => example.original === index)
      .map((example) => exampleCard(example, network, original, shape, className));
    const wrong = html`<p>
      takes it for ${className(network.predicted[index])} as it is: not attacked
    </p>`;
    return html`<div class="network" data-row="${network.name}">
      <h5>${network.name}</h5>
      <div class="attacks">${isRight ? cards : wrong}</div>
    </div>`;
  });
  return html`<article class="example" data-class="${label}">
    <h4>${title}</h4>
    <div class="networks">
      <div class="network original">
        <h5>original</h5>
        <div class="attacks">
          <figure>
            <img
              src="${pictureOf(pixels, shape)}"
              width="84"
              height="84"
              alt="${title}, unchanged"
            />
          </figure>
        </div>
      </div>
      ${boxes}
    </div>
  </article>`;
}

function exampleCard(
  { attack, found, original: index }: Example,
  { name, blank }: NetworkExamples,
  original: Original,
  shape: Gallery['shape'],
  className: (label: number) => string,
): Html {
  const { title } = ATTACKS[attack];
  if (!found) {
    const why = attack === 'fgs' && blank[index] ? 'fails: its gradient is blank' : 'fails';
    return html`<figure data-attack="${attack}">
      <figcaption><b>${title}</b> ${why}</figcaption>
    </figure>`;
  }
  const { pixels, predicted, linf, pass } = found;
  const added = perturbationOf(original.pixels, pixels, linf);
  const [before, after] = [className(original.label), className(predicted)];
  const times = magnification(linf);
  const factor = times < 10 ? times.toFixed(1) : times.toFixed(0);
  const [alt, altAdded] = [
    `Test image ${original.position} after ${title} on ${name}: taken for ${after}`,
    `What ${title} added to it, times ${factor}`,
  ];
  return html`<figure data-attack="${attack}">
    <img src="${pictureOf(pixels, shape)}" width="84" height="84" alt="${alt}" /><img
      src="${pictureOf(added, shape)}"
      width="84"
      height="84"
      alt="${altAdded}"
    />
    <figcaption>
      <b>${title}</b><br />${before} → <strong>${after}</strong><br />L∞ ${linf}<br />PASS
      ${pass.toFixed(2)}<br /><small>below × ${factor}</small>
    </figcaption>
  </figure>`;
}

function provenanceSection(groups: readonly Group[]): Section | undefined {
  const runs: FoundRun[] = groups.flat();
  if (runs.length === 0) return undefined;
  return {
    id: 'provenance',
    title: 'Where the figures come from',
    body: runs.map(provenanceOf),
  };
}

function leftOut(notes: readonly string[]): Section | undefined {
  if (notes.length === 0) return undefined;
  return { id: 'left-out', title: 'Left out', body: list(notes.map(printable)) };
}
