import path from 'node:path';
import { DOMImplementation, type Element, XMLSerializer } from '@xmldom/xmldom';
import type { Outcome, Verdict } from '../check/check.js';
import { countedIfAny, printable } from '../base/text.js';
import { inMarkdown } from './markdown.js';
import { numberText, telling } from './numbers.js';
import { xmlText } from './xml.js';
import { jsonText, parseJson } from '../base/files.js';

/** One band in a sentence: the value, the band, and the distance from its edge. */
function verdictSentence({ quantity, value, margin, baseline, holds, ...band }: Verdict): string {
  const around = baseline
    ? ` (baseline ${telling(baseline.mean, quantity.digits)} ± ${telling(baseline.std, quantity.digits)} over ${baseline.n} seeds)`
    : '';
  const expected = `${bandText(band, quantity)}${around}`;
  if (value === null || margin === null) {
    return `${quantity.name} has no value, as there was nothing to measure; expected ${expected}`;
  }
  const is = `${quantity.name} is ${numberText(value, quantity)}, expected ${expected}`;
  const by = telling(Math.abs(margin), quantity.digits);
  return holds ? `${is}: holds with ${by} to spare` : `${is}: out of band by ${by}`;
}

function bandText(
  { min, max }: Pick<Verdict, 'min' | 'max'>,
  quantity: Verdict['quantity'],
): string {
  if (min === null) return `at most ${numberText(max!, quantity)}`;
  if (max === null) return `at least ${numberText(min, quantity)}`;
  return `${telling(min, quantity.digits)} to ${numberText(max, quantity)}`;
}

/** A line for each band, or for the problem. */
export function outcomeLines({ name, verdicts, problem }: Outcome): string[] {
  if (problem) return [`${problemMark(problem)} ${printable(name)}: ${problem.message}`];
  return verdicts.map(
    (verdict) => `${verdict.holds ? 'ok  ' : 'FAIL'} ${name}: ${verdictSentence(verdict)}`,
  );
}

function problemMark({ kind }: NonNullable<Outcome['problem']>): string {
  return kind === 'failed' ? 'FAIL' : 'ERROR';
}

export interface Tally {
  bands: number;
  out: number;
  /** Experiments that ran and failed. */
  failed: number;
  /** Configs that could not be run. */
  unable: number;
  /** Configs at which the program failed. */
  defects: number;
}

export function tallyOf(outcomes: readonly Outcome[]): Tally {
  const verdicts = outcomes.flatMap((outcome) => outcome.verdicts);
  const problems = (wanted: NonNullable<Outcome['problem']>['kind']): number =>
    outcomes.filter(({ problem }) => problem?.kind === wanted).length;
  return {
    bands: verdicts.length,
    out: verdicts.filter(({ holds }) => !holds).length,
    failed: problems('failed'),
    unable: problems('unable'),
    defects: problems('defect'),
  };
}

/** `2 of 9 numbers are out of band, 1 config could not be checked`; empty if all is well. */
export function tallySentence({ bands, out, failed, unable, defects }: Tally): string {
  return [
    ...countedIfAny(
      out,
      `of ${bands} numbers is out of band`,
      `of ${bands} numbers are out of band`,
    ),
    ...countedIfAny(failed, 'experiment failed', 'experiments failed'),
    ...countedIfAny(unable, 'config could not be checked', 'configs could not be checked'),
    ...countedIfAny(
      defects,
      'config met a defect of the program',
      'configs met a defect of the program',
    ),
  ].join(', ');
}

/** The output of `--json`. */
export function verdictJson(outcomes: readonly Outcome[], version: string): string {
  const value = {
    format: 1,
    bang: version,
    holds: tallySentence(tallyOf(outcomes)) === '',
    configs: outcomes.map(({ file, name, seconds, problem, verdicts }) => ({
      file,
      name,
      seconds,
      problem: problem ?? null,
      checks: verdicts.map(({ quantity, value, min, max, margin, holds, baseline }) => ({
        figure: quantity.name,
        // JSON has no NaN: it becomes null.
        value,
        min,
        max,
        margin,
        holds,
        baseline: baseline ?? null,
      })),
    })),
  };
  return jsonText(value);
}

/** JUnit XML, as CI services read it: a suite for each config, a test case for each band. */
export function junitXml(outcomes: readonly Outcome[]): string {
  const document = new DOMImplementation().createDocument(null, 'testsuites');
  const root = document.documentElement!;
  const add = (
    parent: Element,
    tag: string,
    attributes: Record<string, string | number>,
  ): Element => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      element.setAttribute(name, xmlText(value));
    parent.appendChild(element);
    return element;
  };
  const problemIn = (one: Element, tag: 'failure' | 'error', message: string): void => {
    // Some services show the attribute, others the text.
    add(one, tag, { message, type: tag }).appendChild(document.createTextNode(xmlText(message)));
  };
  for (const outcome of outcomes) {
    const { file, name, verdicts, problem, seconds } = outcome;
    const numbers = numbersOf([outcome]);
    const suite = add(root, 'testsuite', { name, file, ...numbers, time: seconds.toFixed(3) });
    // One run measures all numbers: the times of the cases add up to that of the suite.
    const time = (seconds / Math.max(1, numbers.tests)).toFixed(3);
    const testCase = (title: string): Element =>
      add(suite, 'testcase', { classname: `bang.${name}`, name: title, file, time });
    if (problem) {
      const tag = problem.kind === 'failed' ? 'failure' : 'error';
      problemIn(testCase('runs'), tag, problem.message);
    }
    for (const verdict of verdicts) {
      const one = testCase(verdict.quantity.name);
      if (!verdict.holds) problemIn(one, 'failure', verdictSentence(verdict));
    }
  }
  const time = outcomes.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(3);
  for (const [name, value] of Object.entries({
    name: 'bang check',
    ...numbersOf(outcomes),
    time,
  })) {
    root.setAttribute(name, xmlText(value));
  }
  const text = new XMLSerializer().serializeToString(document);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text}\n`;
}

function numbersOf(outcomes: readonly Outcome[]): Record<'tests' | 'failures' | 'errors', number> {
  const { bands, out, failed, unable, defects } = tallyOf(outcomes);
  return {
    tests: bands + failed + unable + defects,
    failures: out + failed,
    errors: unable + defects,
  };
}

/** Whether a text is one of `verdictJson` or `junitXml`. */
export function isVerdict(text: string): boolean {
  if (/<testsuites [^>]*name="bang check"/.test(text)) return true;
  const value = parseJson(text);
  return typeof value === 'object' && value !== null && 'holds' in value && 'configs' in value;
}

/**
 * Annotations that GitHub Actions reads from the output of a step, one for each problem.
 *
 * @param root the repository's folder, to which paths are relative
 */
export function githubAnnotations(outcomes: readonly Outcome[], root = process.cwd()): string[] {
  return outcomes.flatMap(({ file, name, verdicts, problem }) => {
    const error = (title: string, message: string): string =>
      `::error file=${property(pathFrom(root, file))},title=${property(title)}::${annotationText(message)}`;
    if (problem) return [error(`bang check: ${name}`, problem.message)];
    return verdicts
      .filter(({ holds }) => !holds)
      .map((verdict) =>
        error(`bang check: ${name}, ${verdict.quantity.name}`, verdictSentence(verdict)),
      );
  });
}

function pathFrom(root: string, file: string): string {
  const relative = path.relative(root, path.resolve(file));
  // Elsewhere: no file of the repository.
  return relative.startsWith('..') ? file : relative.split(path.sep).join('/');
}

function annotationText(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return annotationText(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

/** The outcomes as a Markdown section, for the summary of a step. */
export function markdownSummary(outcomes: readonly Outcome[]): string {
  const sentence = tallySentence(tallyOf(outcomes));
  const lines = outcomes.flatMap(({ name, verdicts, problem }) => [
    ...(problem ? [[name, 'runs', '', '', problem.message]] : []),
    ...verdicts.map(({ quantity, value, margin, holds, ...band }) => [
      name,
      quantity.name,
      value === null ? 'nothing to measure' : numberText(value, quantity),
      bandText(band, quantity),
      holds ? 'ok' : `out by ${margin === null ? '–' : telling(-margin, quantity.digits)}`,
    ]),
  ]);
  const row = (cells: readonly string[]): string => `| ${cells.map(inMarkdown).join(' | ')} |`;
  return [
    `### bang check: ${sentence === '' ? 'all numbers are in their bands' : inMarkdown(sentence)}`,
    '',
    row(['config', 'quantity', 'value', 'band', '']),
    '| --- | --- | ---: | ---: | --- |',
    ...lines.map(row),
    '',
  ].join('\n');
}
