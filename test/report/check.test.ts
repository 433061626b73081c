import path from 'node:path';
import { SaxesParser } from 'saxes';
import { describe, expect, it } from 'vitest';
import type { Outcome, Verdict } from '#bang/check/check.js';
import { scalar } from '#bang/metrics/quantities.js';
import {
  githubAnnotations,
  junitXml,
  markdownSummary,
  outcomeLines,
  tallyOf,
  tallySentence,
  verdictJson,
} from '#bang/report/check.js';

const verdict = (name: string, more: Partial<Verdict> = {}): Verdict => ({
  quantity: scalar(name),
  value: 4,
  min: null,
  max: 5,
  margin: 1,
  holds: true,
  ...more,
});
const outcome = (more: Partial<Outcome> = {}): Outcome => ({
  file: 'configs/ci/a.yaml',
  name: 'a',
  verdicts: [],
  seconds: 1.5,
  ...more,
});

/** Characters that could break out of a line, a tag, a command or a table. */
const NASTY = 'a "b" <c> & \'d\' 100 % | x: y, z\r\n::error::]]> \u0000\u001b[31m\ud800\ufffe é';
const baseline = { mean: 3, std: 0.25, n: 10, min: 2, max: 4 };
const OUTCOMES: Outcome[] = [
  outcome({
    verdicts: [
      verdict('fgs_rate'),
      verdict('accuracy', { value: 98, min: 99, max: null, margin: -1, holds: false }),
      verdict('hc1_pass_mean', { value: null, min: 0.1, max: 0.2, margin: null, holds: false }),
      verdict('fgs_linf_mean', { value: NaN, min: 2, max: 4, margin: NaN, holds: false, baseline }),
    ],
  }),
  outcome({ name: NASTY, file: 'a,b:c%.yaml', problem: { kind: 'unable', message: NASTY } }),
  outcome({ name: 'diverged', problem: { kind: 'failed', message: 'the loss is not finite' } }),
];

describe('a sentence', () => {
  it.each<[Verdict, string]>([
    [verdict('fgs_rate'), 'fgs_rate is 4.00 %, expected at most 5.00 %: holds with 1.00 to spare'],
    [
      verdict('hc1_linf_mean', { value: 170.5, min: 180, max: null, margin: -9.5, holds: false }),
      'hc1_linf_mean is 170.50 grey levels, expected at least 180.00 grey levels: out of band by 9.50',
    ],
    [
      verdict('fgs_linf_mean', { value: 4, min: 2, max: 4, margin: 0, baseline }),
      'fgs_linf_mean is 4.00 grey levels, expected 2.00 to 4.00 grey levels (baseline 3.00 ± 0.25 over 10 seeds): holds with 0.00 to spare',
    ],
    [
      verdict('accuracy', { value: 5.0004, margin: -0.0004, holds: false }),
      'accuracy is 5.00 %, expected at most 5.00 %: out of band by 0.0004',
    ],
    [
      verdict('fgs_pass_mean', { value: null, margin: null, holds: false }),
      'fgs_pass_mean has no value, as there was nothing to measure; expected at most 5.0000',
    ],
  ])('%#', (one, text) => {
    const mark = one.holds ? 'ok  ' : 'FAIL';
    expect(outcomeLines(outcome({ verdicts: [one] }))).toEqual([`${mark} a: ${text}`]);
  });

  it('summarises the problems', () => {
    expect(tallySentence(tallyOf(OUTCOMES))).toBe(
      '3 of 4 numbers are out of band, 1 experiment failed, 1 config could not be checked',
    );
    expect(tallySentence(tallyOf([outcome({ verdicts: [verdict('accuracy')] })]))).toBe('');
  });

  it('begins with ok, FAIL or ERROR', () => {
    const marks = OUTCOMES.flatMap(outcomeLines).map((line) => line.slice(0, 5).trim());
    expect(marks).toEqual(['ok', 'FAIL', 'FAIL', 'FAIL', 'ERROR', 'FAIL']);
  });
});

interface Tag {
  name: string;
  attributes: Record<string, string>;
}

/** The tags of a document, by a strict parser. */
function tagsOf(xml: string): Tag[] {
  const tags: Tag[] = [];
  const parser = new SaxesParser();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name, attributes }) => tags.push({ name, attributes }));
  // As a reader of the file gets it.
  parser.write(Buffer.from(xml).toString('utf8')).close();
  return tags;
}

const SECONDS = OUTCOMES.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(3);

describe('JUnit', () => {
  it('is well-formed, whatever the texts are', () => {
    const tags = tagsOf(junitXml(OUTCOMES));
    const root = tags[0];
    expect(root).toEqual({
      name: 'testsuites',
      attributes: { name: 'bang check', tests: '6', failures: '4', errors: '1', time: SECONDS },
    });
    const error = tags.find(({ name }) => name === 'error')!;
    expect(error.attributes.message).toMatch(
      /^a "b" <c> & 'd' 100 % \| x: y, z ::error::\]\]> .* é$/,
    );
    const suites = tags.filter(({ name }) => name === 'testsuite');
    expect(suites.map(({ attributes }) => attributes.tests)).toEqual(['4', '1', '1']);
    expect(suites[0].attributes).toMatchObject({
      name: 'a',
      failures: '3',
      errors: '0',
      time: '1.500',
    });
    const cases = tags.filter(({ name }) => name === 'testcase');
    expect(cases.map(({ attributes }) => attributes.name)).toEqual([
      ...['fgs_rate', 'accuracy', 'hc1_pass_mean', 'fgs_linf_mean', 'runs', 'runs'],
    ]);
    expect(tags.filter(({ name }) => name === 'failure')).toHaveLength(4);
    // Four numbers of one run of 1.5 s.
    expect(cases[0].attributes.time).toBe('0.375');
    const xml = junitXml(OUTCOMES);
    const failures = [...xml.matchAll(/<failure message="([^"]*)" type="failure">([^<]*)</g)];
    expect(failures).toHaveLength(4);
    for (const [, message, text] of failures.slice(0, 3)) expect(text).toBe(message);
  });

  it('counts defects of the program as errors', () => {
    const problem = { kind: 'defect' as const, message: 'x: a defect of the program' };
    const tags = tagsOf(junitXml([outcome({ problem })]));
    expect(tags[0].attributes).toMatchObject({ tests: '1', failures: '0', errors: '1' });
    expect(tallySentence(tallyOf([outcome({ problem })]))).toBe(
      '1 config met a defect of the program',
    );
  });

  it('annotates files by their paths in the repository', () => {
    const problem = { kind: 'unable' as const, message: 'no' };
    const of = (file: string): string =>
      githubAnnotations([outcome({ file, problem })], path.dirname(process.cwd()))[0];
    const here = path.basename(process.cwd());
    expect(of('configs/a.yaml')).toContain(`file=${here}/configs/a.yaml,`);
    expect(of(path.resolve('a.yaml'))).toContain(`file=${here}/a.yaml,`);
    expect(of('/elsewhere/a.yaml')).toContain('file=/elsewhere/a.yaml,');
  });
});

/** What GitHub's runner makes of a line of output: the counterpart of the escapes in its docs. */
function annotationOf(line: string): { properties: Record<string, string>; message: string } {
  const [, properties, message] = /^::error ([^\r\n]*?)::([^\r\n]*)$/.exec(line)!;
  const data = (text: string) =>
    text.replaceAll('%0A', '\n').replaceAll('%0D', '\r').replaceAll('%25', '%');
  const property = (text: string) => data(text.replaceAll('%2C', ',').replaceAll('%3A', ':'));
  return {
    properties: Object.fromEntries(
      properties.split(',').map((part) => part.split('=').map(property) as [string, string]),
    ),
    message: data(message),
  };
}

describe('annotations', () => {
  it('are one line for each problem, and complete', () => {
    const found = githubAnnotations(OUTCOMES).map(annotationOf);
    expect(found).toHaveLength(5);
    expect(found[0]).toEqual({
      properties: { file: 'configs/ci/a.yaml', title: 'bang check: a, accuracy' },
      message: 'accuracy is 98.00 %, expected at least 99.00 %: out of band by 1.00',
    });
    expect(found[3]).toEqual({
      properties: { file: 'a,b:c%.yaml', title: `bang check: ${NASTY}` },
      message: NASTY,
    });
  });
});

it('the summary is one table, whatever the texts are', () => {
  const lines = markdownSummary(OUTCOMES).trim().split('\n');
  expect(lines[0]).toMatch(/^### bang check: 3 of 4 numbers are out of band/);
  const table = lines.slice(2);
  expect(table).toHaveLength(2 + 6);
  for (const line of table) expect(line.match(/(?<!\\)\|/g)).toHaveLength(6);
});

it('the JSON has every number, and null for what is not one', () => {
  const { holds, configs } = JSON.parse(verdictJson(OUTCOMES, '1.2.3')) as {
    holds: boolean;
    configs: { name: string; problem: unknown; checks: { value: number | null }[] }[];
  };
  expect(holds).toBe(false);
  expect(configs.map(({ name }) => name)).toEqual(['a', NASTY, 'diverged']);
  expect(configs[0].checks.map(({ value }) => value)).toEqual([4, 98, null, null]);
  expect(configs[1].problem).toEqual({ kind: 'unable', message: NASTY });
});
