import { appendFileSync, existsSync, lstatSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { DefectFound, ExperimentError, UserError } from '../base/errors.js';
import {
  checkFiles,
  type CheckOptions,
  type Outcome,
  type Update,
  updateBaselines,
} from '../check/check.js';
import { isBuiltIn, withoutPatterns } from '../config/builtIn.js';
import { seed as seedSchema } from '../config/fields.js';
import { inTemporaryFolder, makeWritable, remove } from '../base/folders.js';
import { version } from '../base/version.js';
import { isFile, reason, writeFileAtomic } from '../base/files.js';
import { scalar } from '../metrics/quantities.js';
import {
  githubAnnotations,
  isVerdict,
  junitXml,
  markdownSummary,
  outcomeLines,
  tallyOf,
  tallySentence,
  verdictJson,
} from '../report/check.js';
import { flag, interruptible, refuseToReplace, shared, textOption } from './options.js';
import { print, printMarked } from './print.js';
import type { BaselineNumber } from '../check/baseline.js';
import { telling } from '../report/numbers.js';
import path from 'node:path';

interface CheckArguments {
  configs: string[];
  out?: string;
  junit?: string;
  json?: string;
  updateBaseline: boolean;
  seeds?: number[];
  threads?: number;
  dataDir?: string;
  force: boolean;
}

/** For a new baseline: enough for a reliable standard deviation. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const FEWEST_SEEDS = 3;

export const checkCommand: CommandModule<object, CheckArguments> = {
  builder: (yargs) =>
    yargs
      .positional('configs', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'YAML files or names of bang configs, with an expect block each',
      })
      .options(textOption('junit', 'write the verdicts as JUnit XML, for CI services'))
      .options(textOption('json', 'write the verdicts as JSON'))
      .options(
        textOption(
          'out',
          'keep the result folders here, one for each config, and continue stopped ones (default: a temporary folder)',
        ),
      )
      .option(
        'update-baseline',
        flag('check nothing, but write the baselines that the configs name'),
      )
      .option('seeds', {
        type: 'string',
        requiresArg: true,
        coerce: seedList,
        describe: `seeds of a new baseline (default: ${SEEDS.join(',')})`,
      })
      .options({ ...shared, force: { ...shared.force, describe: 'start over in --out' } })
      .example(
        "$0 check 'ci/*'",
        'the checks that come with the program: exit code 0 if all numbers are in their bands, 1 if not',
      )

      .example('$0 check checks/*.yaml --junit bang.xml', 'your own, for a CI service')
      .example(
        '$0 check checks/mine.yaml --update-baseline --seeds 1,2,3,4,5',
        'measure what is normal, and its scatter',
      )
      .epilog(
        'Everything is computed again, except for what --out holds from the same build of the program. Exit codes: 0 all in band, 1 out of band or failed, 2 a config could not be checked, 70 a defect of the program. See docs/ci.md.',
      ) as never,
  handler: handle,
};

async function handle({
  configs: given,
  out,
  junit,
  json,
  seeds,
  force,
  dataDir,
  threads,
  ...chosen
}: CheckArguments): Promise<void> {
  const configs = withoutPatterns(given);
  if (seeds !== undefined && !chosen.updateBaseline) {
    throw new UserError('--seeds is for --update-baseline');
  }
  if (chosen.updateBaseline && (junit ?? json) !== undefined) {
    throw new UserError('--update-baseline checks nothing: leave out --json and --junit');
  }
  // Better to fail before hours of computing than after.
  refuseOutputs({ '--json': json, '--junit': junit }, configs);
  if (out !== undefined) makeWritable(out);
  const within = <T>(work: (options: CheckOptions) => Promise<T>): Promise<T> =>
    interruptible(
      (signal, progress) => {
        const inside = (folder: string) =>
          work({ out: folder, force, dataDir, threads, progress, signal });
        return out === undefined ? inTemporaryFolder('bang-check-', inside) : inside(out);
      },
      { force, resumes: out !== undefined },
    );
  if (chosen.updateBaseline) {
    refuseBuiltIn(configs);
    await within((options) => updateBaselines(configs, seeds ?? SEEDS, options, printUpdate));
    return;
  }
  // A check that is stopped must not leave the verdict of an earlier one.
  for (const file of [json, junit]) if (file !== undefined && isOrdinary(file)) remove(file);
  const outcomes = await within((options) =>
    checkFiles(configs, options, (outcome) => {
      outcomeLines(outcome).forEach(printMarked);
    }),
  );
  report(outcomes, { junit, json });
}

/** @throws UserError if a file cannot be written, or something that is needed would be lost */
function refuseOutputs(
  files: Record<string, string | undefined>,
  configs: readonly string[],
): void {
  const places = new Map(configs.map((config) => [path.resolve(config), config]));
  for (const [option, file] of Object.entries(files)) {
    if (file === undefined) continue;
    const place = path.resolve(file);
    const other = places.get(place);
    if (other !== undefined) {
      throw new UserError(`${option} ${file} would overwrite ${other}: name another file`);
    }
    makeWritable(path.dirname(place));
    refuseToReplace(option, file, 'a verdict of bang check', isVerdict);
    places.set(place, `what ${option} writes`);
  }
}

/** Whether it is a file in a place of its own: neither a device or pipe nor a link, which stay. */
function isOrdinary(file: string): boolean {
  return isFile(file) && lstatSync(file).isFile();
}

/** @throws UserError if a baseline would be written into the program */
function refuseBuiltIn(configs: readonly string[]): void {
  const name = configs.find(isBuiltIn);
  if (name === undefined) return;
  throw new UserError(
    `${name} and its baseline come with the program: copy them with bang init --example ${name}, and update the copy`,
  );
}

function seedList(list: string): number[] {
  const seeds = list.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : NaN));
  const distinct = new Set(seeds).size === seeds.length;
  if (
    !distinct ||
    seeds.length < FEWEST_SEEDS ||
    !seeds.every((seed) => seedSchema.safeParse(seed).success)
  ) {
    throw new UserError(
      `--seeds ${list}: expected ${FEWEST_SEEDS} or more different seeds, such as 1,2,3`,
    );
  }
  return seeds;
}

/**
 * Writes the requested files, and under GitHub Actions its annotations and summary.
 *
 * @throws DefectFound if the program failed; UserError if a config could not be checked; ExperimentError if a number is out of its band
 */
function report(
  outcomes: readonly Outcome[],
  { junit, json }: Pick<CheckArguments, 'junit' | 'json'>,
): void {
  const { GITHUB_ACTIONS, GITHUB_STEP_SUMMARY, GITHUB_WORKSPACE } = process.env;
  if (GITHUB_ACTIONS === 'true') {
    githubAnnotations(outcomes, GITHUB_WORKSPACE ?? repositoryOf(process.cwd())).forEach(print);
  }
  if (GITHUB_STEP_SUMMARY) append(GITHUB_STEP_SUMMARY, markdownSummary(outcomes));
  if (junit !== undefined) writeFileAtomic(junit, junitXml(outcomes));
  if (json !== undefined) writeFileAtomic(json, verdictJson(outcomes, version()));
  const tally = tallyOf(outcomes);
  const sentence = tallySentence(tally);
  if (tally.defects > 0) throw new DefectFound(sentence);
  if (tally.unable > 0) throw new UserError(sentence);
  if (sentence !== '') throw new ExperimentError(sentence);
  print(`all ${tally.bands} numbers are in their bands`);
}

/** The folder of the Git repository that a folder is in; else the folder itself. */
function repositoryOf(folder: string): string {
  for (let at = folder; ; at = path.dirname(at)) {
    if (existsSync(path.join(at, '.git'))) return at;
    if (path.dirname(at) === at) return folder;
  }
}

function append(file: string, text: string): void {
  try {
    appendFileSync(file, text);
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${reason(error)}`);
  }
}

function printUpdate({ file, baseline, before }: Update): void {
  for (const [name, now] of Object.entries(baseline.figures)) {
    const was = before?.figures[name];
    const { digits } = scalar(name);
    const text = ({ mean, std }: BaselineNumber): string =>
      `${telling(mean, digits)} ± ${telling(std, digits)}`;
    if (now) print(`${baseline.name}: ${name} ${text(now)}${was ? `, was ${text(was)}` : ''}`);
  }
  print(`wrote ${file}, over ${baseline.seeds.length} seeds`);
}
