import { stringify } from 'yaml';
import type { CollectedPart, FoundRun } from '../../../store/collect.js';
import type { Config } from '../../../config/experiment.js';
import { isMapping } from '../../../config/problems.js';
import { FILES } from '../../../store/resultFolder.js';
import { readRegularFile } from '../../../base/files.js';
import { duration } from '../../../base/progress.js';
import { counted, printable, shellWord } from '../../../base/text.js';
import { type Content, type Html, html } from '../html.js';
import { entryKey, type Section } from '../section.js';
import path from 'node:path';

export function provenanceSection(parts: readonly CollectedPart[]): Section | undefined {
  const body = parts.flatMap(({ title, entries, groups }) =>
    groups.flatMap((group, i) =>
      group.map((run, n) =>
        // The first of an entry's runs stands for it where two are put side by side.
        provenanceOf(run, entries[i].labels, n === 0 && entryKey(title, entries[i])),
      ),
    ),
  );
  if (body.length === 0) return undefined;
  return {
    id: 'provenance',
    title: 'Where the numbers come from',
    foldedAs: html`${counted(body.length, 'run')}: command, engine, data and configuration of each`,
    body,
  };
}

/** The provenance of a run, in a box that unfolds. */
function provenanceOf(
  { folder, result }: FoundRun,
  labels: readonly string[],
  entry: string | false,
): Html {
  const { name, config, weights, data } = result;
  const made = result.provenance;
  const more = [...labels, ...(config.seed === undefined ? [] : [`seed ${config.seed}`])];
  const facts: [string, Content][] = [
    ['folder', html`<code>${printable(folder)}</code>`],
    ['to reproduce it', html`<code>${printable(commandFor(folder, config))}</code>`],
    ['seed', config.seed ?? 'not known'],
    ...(made ? factsOf(made) : []),
    [
      'data',
      `${data.name}${data.folder === null ? '' : `, from ${printable(data.folder)}`}, sha256 ${data.sha256}`,
    ],
    ['weights', `sha256 ${weights}`],
  ];
  const rows = facts.map(
    ([term, fact]) =>
      html`<dt>${term}</dt>
        <dd>${fact}</dd> `,
  );
  return html`<details data-key="provenance ${folder}">
    <summary><b>${printable(name)}</b>${more.map((label) => `, ${label}`)}</summary>
    <dl>${rows}</dl>
    <p>Configuration, every default filled in:</p>
    <pre
      tabindex="0"
      ${entry !== false && html` data-entry="${entry}" data-settings="${settingsIn(config)}"`}
    >
${stringify(config)}</pre>
  </details> `;
}

/** A line for each value of a configuration, with its key path and, after a tab, itself; lists of mappings item by item. */
function settingsIn(value: unknown, at: readonly string[] = []): string {
  const isList = Array.isArray(value) && value.length > 0 && value.every(isMapping);
  if (!isList && !isMapping(value)) return `${at.join('.')}\t${JSON.stringify(value)}`;
  return Object.entries(value)
    .map(([key, inner]) => settingsIn(inner, [...at, key]))
    .join('\n');
}

function factsOf(made: NonNullable<FoundRun['result']['provenance']>): [string, Content][] {
  const { bang, node, platform, cpu, engine, threads, finished, seconds } = made;
  const training =
    seconds.training === null ? '' : `, of which training ${duration(1000 * seconds.training)}`;
  return [
    ['engine', `${engine}, ${counted(threads, 'thread')}`],
    ['processor', cpu],
    ['versions', `bang ${bang}, Node ${node}, ${platform}`],
    ['finished', html`<time datetime="${finished}">${finished.replace(/\.\d+Z$/, 'Z')}</time>`],
    ['took', `${duration(1000 * seconds.total)}${training}`],
  ];
}

/** The command that reproduces the folder. */
function commandFor(folder: string, { evaluation, published }: Partial<Config>): string {
  const config = path.join(folder, FILES.identity);
  if (!isEvaluation(config)) return `bang run ${shellWord(config)} --out FOLDER`;
  const row = published ? ['--row', published.row] : [];
  const set = Object.entries(evaluation ?? {}).flatMap(([key, value]) => [
    '--set',
    `evaluation.${key}=${JSON.stringify(value)}`,
  ]);
  return ['bang eval WEIGHTS', ...[...row, ...set].map(shellWord), '--out FOLDER'].join(' ');
}

/** Whether a folder is an evaluation of existing weights: its configuration names them. */
function isEvaluation(config: string): boolean {
  try {
    return /^weights:/m.test(readRegularFile(config).toString('utf8'));
  } catch {
    return false;
  }
}
