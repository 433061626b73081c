import { describe, expect, it } from 'vitest';
import type { AttackName } from '#bang/attacks/attack.js';
import type { AttackOutcome, Evaluation } from '#bang/metrics/evaluation.js';
import { makeRandom } from '#bang/base/random.js';
import { robustnessCsv } from '#bang/store/csv.js';
import { perImageCsv } from '#bang/store/perImage.js';
import { concludeMasking, maskingStudy, readingOf } from '#bang/metrics/masking.js';
import { blankSentence } from '#bang/report/masking.js';
import { summarise } from '#bang/metrics/row.js';
import { drawGrid } from '#bang/report/grid.js';
import { robustnessComparisons, robustnessGrid } from '#bang/report/robustness.js';
import { medianLinf, robustnessOf } from '#bang/metrics/robustness.js';

/** Of images that are all labelled 0; those predicted as 1 are not attacked. */
function evaluationOf(
  predicted: number[],
  linf: Partial<Record<AttackName, number[]>>,
  blank = predicted.map(() => 0),
): Evaluation {
  const outcome = (values: number[]): AttackOutcome => ({
    linf: Float32Array.from(values),
    seconds: { attack: 0, pass: 0 },
  });
  return {
    images: predicted.length,
    channels: 3,
    labels: new Uint8Array(predicted.length),
    predicted: Uint8Array.from(predicted),
    blank: Uint8Array.from(blank),
    protocol: { search: 'bisection', channels: 'kept' },
    attacks: new Map(
      Object.entries(linf).map(([name, values]) => [name as AttackName, outcome(values)]),
    ),
  };
}

// Five images, of which the last is misclassified. Counted by hand below.
const five = evaluationOf(
  [0, 0, 0, 0, 1],
  {
    fgs: [10, NaN, NaN, 40, NaN],
    pgd: [8, 20, NaN, 16, NaN],
    square: [12, 18, NaN, 30, NaN],
  },
  [0, 1, 1, 0, 1],
);

describe('robust accuracy', () => {
  it('counts the images that stand, of all', () => {
    const { attacks } = robustnessOf(five, [8, 16, 32]);
    expect(attacks.fgs).toEqual({ accuracy: [80, 60, 60], medianLinf: null });
    expect(attacks.pgd).toEqual({ accuracy: [60, 40, 20], medianLinf: 20 });
    expect(attacks.square).toEqual({ accuracy: [80, 60, 20], medianLinf: 30 });
    // 8, 18, none, 16.
    expect(attacks.worst).toEqual({ accuracy: [60, 40, 20], medianLinf: 18 });
  });

  it('falls with the budget, and is least under the worst, whatever was found', () => {
    const random = makeRandom(1, 'outcomes');
    const some = () =>
      Array.from({ length: 50 }, () => (random.uniform() < 0.2 ? NaN : 1 + (random.bits() % 100)));
    const predicted = Array.from({ length: 50 }, () => random.bits() % 2);
    const { attacks } = robustnessOf(
      evaluationOf(predicted, { fgs: some(), pgd: some(), square: some() }),
      [1, 4, 16, 64],
    );
    for (const { accuracy, medianLinf } of Object.values(attacks)) {
      expect(accuracy).toEqual([...accuracy].sort((a, b) => b - a));
      accuracy.forEach((value, b) => {
        expect(attacks.worst!.accuracy[b]).toBeLessThanOrEqual(value);
      });
      expect(attacks.worst!.medianLinf!).toBeLessThanOrEqual(medianLinf ?? Infinity);
    }
  });

  it('is only in what is reported of budget and minimisation attacks', () => {
    const paper = evaluationOf([0, 0], { fgs: [3, 5], hc1: [9, 9] });
    expect(summarise(paper)).not.toHaveProperty('robustness');
    expect(summarise(paper)).not.toHaveProperty('masking');
    // Nothing tells what is left where nothing was attacked.
    const none = { ...evaluationOf([0, 0], {}), budgets: { linf: [8] } };
    expect(summarise(none)).not.toHaveProperty('robustness');
    const head = (evaluation: Evaluation) => perImageCsv(evaluation).split('\n')[0];
    expect(`${head(paper)},pgd_linf,square_linf`).toBe(head(five));
  });

  it('is a table and a file', () => {
    const row = summarise(five);
    const entry = {
      ...{ name: 'five', labels: [], beta: '', epsilon: '' },
      ...{ rows: [row], seeds: [7] },
    };
    const table = drawGrid(robustnessGrid(entry)!);
    expect(table).toMatch(/L∞ 0 │ +≤ 1 │ +≤ 2 │ +≤ 4 │ +≤ 8 │ +≤ 16 │ median L∞/);
    expect(table).toMatch(/│ FGS +│ +80\.00 │ +80\.00 .* 60\.00 │ +∞ │/);
    expect(table).toMatch(/│ worst of all, per image .* 40\.00 │ +18 │/);
    const lines = robustnessCsv([entry]).trim().split('\n');
    expect(lines).toHaveLength(1 + 4 * 5);
    expect(lines).toContain('five,,,7,5,80,pgd,20,8,60');
    expect(robustnessGrid({ ...entry, rows: [] })).toBeUndefined();
  });

  it('is compared between networks, means over seeds, by what their data are measured at', () => {
    const row = summarise(five);
    const { attacks: worst } = row.robustness!;
    const entry = { name: 'one', labels: ['5 images'], beta: '', epsilon: '' };
    const stronger = {
      ...row,
      accuracy: 60,
      robustness: {
        ...row.robustness!,
        attacks: { ...worst, worst: { accuracy: [60, 60, 60, 60, 60], medianLinf: null } },
      },
    };
    const mnist = summarise({ ...five, channels: 1 });
    const grids = robustnessComparisons([
      { ...entry, rows: [row], seeds: [1] },
      { ...entry, name: 'none', rows: [], seeds: [] },
      { ...entry, name: 'seeds', rows: [row, stronger], seeds: [1, 2] },
      { ...entry, name: 'other', rows: [mnist], seeds: [1] },
    ]);
    expect(grids.map(({ rows }) => rows.map(([{ text }]) => text))).toEqual([
      ['one\n5 images', 'seeds\n5 images\n2 seeds'],
      ['other\n5 images'],
    ]);
    const [one, seeds] = grids[0].rows.map((cells) => cells.slice(1).map(({ text }) => text));
    const { accuracy, medianLinf } = worst.worst!;
    expect(one).toEqual([
      ...[row.accuracy, worst.fgs!.accuracy.at(-1)!, ...accuracy].map((value) => value.toFixed(2)),
      String(medianLinf),
    ]);
    expect(seeds[0]).toBe(((row.accuracy + 60) / 2).toFixed(2));
    expect(seeds.slice(2, -1)).toEqual(accuracy.map((value) => ((value + 60) / 2).toFixed(2)));
    expect(seeds.at(-1)).toBe('∞');
  });
});

describe('what is known of the smallest L∞', () => {
  it('is nothing where no image is classified correctly, which is no robustness', () => {
    const row = summarise(evaluationOf([1, 1], { fgs: [NaN, NaN], apgd: [NaN, NaN] }));
    expect(row.robustness!.attacks.worst!.medianLinf).toBeUndefined();
    const entry = { name: 'x', labels: [], beta: '', epsilon: '', seeds: [1], rows: [row] };
    expect(drawGrid(robustnessGrid(entry)!)).toMatch(/APGD .* – │\n/);
  });

  const within = {
    ...five,
    budgets: { linf: [8] },
    atBudgets: [
      {
        norm: 'linf' as const,
        budget: 8,
        by: Array.from(five.predicted, () => 'square' as const),
        size: Float32Array.from(five.predicted, () => 8),
        seconds: 1,
      },
    ],
  };

  it('is nothing where attacks were made within budgets: they keep what fools, not the smallest', () => {
    const { robustness } = summarise(within);
    expect(robustness!.attacks.worst).toEqual({ accuracy: [0] });
    expect(robustness!.attacks.fgs!.medianLinf).toBeDefined();
    // Earlier versions wrote one.
    const old = { ...robustness!, attacks: { ...robustness!.attacks } };
    old.attacks.worst = { accuracy: [0], medianLinf: 8 };
    expect(medianLinf(old, 'worst')).toBeUndefined();
    const entry = { name: 'x', labels: [], beta: '', epsilon: '', seeds: [1] };
    const [grid] = robustnessComparisons([
      { ...entry, rows: [{ ...summarise(within), robustness: old }] },
    ]);
    expect(grid.columns.map(({ title }) => title.join(' '))).not.toContain('worst median');
  });
});

describe('masking', () => {
  it('is counted against FGS and PGD', () => {
    const study = maskingStudy(five)!;
    expect(study).toMatchObject({ attacked: 4, blank: 2, fgsFails: 2 });
    expect(study.attacks.pgd).toEqual({ fooled: 3, fgsFails: 1, belowFgs: 3, belowPgd: 0 });
    expect(study.attacks.square).toEqual({ fooled: 3, fgsFails: 1, belowFgs: 2, belowPgd: 1 });
    expect(blankSentence(study)).toBe('2 of 4 gradients are blank in float32');
  });

  it.each([
    [
      'fools all that FGS leaves',
      [5, 5, 5],
      [1, 0, 0],
      /66\.7 % of the images \(33\.3 % have a blank gradient\)\. Of those, PGD fools 100\.0 %: these failures are masking, not robustness\./,
    ],
    [
      'the same without a blank gradient',
      [5, 5, 5],
      [0, 0, 0],
      /a weakness of FGS, not robustness/,
    ],
    [
      'fools none of them',
      [5, NaN, NaN],
      [1, 0, 0],
      /no other of these attacks fools any of those/,
    ],
  ])('has a sentence: PGD %s', (_, pgd, blank, sentence) => {
    const { conclusion } = maskingStudy(
      evaluationOf([0, 0, 0], { fgs: [9, NaN, NaN], pgd }, blank),
    )!;
    expect(conclusion).toMatch(sentence);
    expect(conclusion).not.toMatch(/Square/);
  });

  it.each(['hc1', 'deepfool-l2', 'deepfool-linf'] as const)(
    'is seen by %s where no other attack shows it',
    (other) => {
      const conclusionOf = (linf: Record<string, number[]>): string =>
        maskingStudy(evaluationOf([0, 0], { fgs: [NaN, NaN], ...linf }, [1, 1]))!.conclusion;
      const alone = conclusionOf({ [other]: [60, 70] });
      expect(alone).toMatch(/fools 100\.0 %: these failures are masking, not robustness\./);
      expect(conclusionOf({ square: [NaN, 90], [other]: [60, 70] })).toMatch(
        /Square.* fools 50\.0 %, .* fools 100\.0 %: these failures are masking/,
      );
      expect(conclusionOf({ pgd: [50, 50], [other]: [60, 70] })).not.toMatch(/DeepFool|HC1/);
    },
  );

  it('is the cause only where at least half of what FGS leaves has a blank gradient', () => {
    const counts = { attacked: 1000, fgsFails: 500, attacks: { pgd: made(500) } };
    expect(concludeMasking({ ...counts, blank: 250 })!.cause).toBe('masking');
    expect(concludeMasking({ ...counts, blank: 1 })!.cause).toBe('weakness');
    expect(readingOf({ blank: 30, fgs: 40, unmasked: 90 })).toBe('masked');
    expect(readingOf({ blank: 1, fgs: 40, unmasked: 90 })).toBe('weak');
  });

  const made = (fgsFails: number) => ({ fooled: 1000, fgsFails, belowFgs: 0, belowPgd: null });

  it('says whether PGD itself is misled', () => {
    const conclusion = (square: number[]) =>
      maskingStudy(evaluationOf([0, 0], { fgs: [9, 9], pgd: [5, 5], square }))!.conclusion;
    expect(conclusion([6, 6])).toMatch(/every image\. .* on no image: no sign that .* masked/);
    expect(conclusion([6, NaN])).toMatch(/on no image: it fools only 50\.0 %, too few to tell/);
    expect(conclusion([6, 4])).toMatch(/on 50\.0 % .* mislead it/);
  });

  it('has nothing to say without FGS, or without images', () => {
    expect(maskingStudy(evaluationOf([0], { pgd: [5] }))).toBeUndefined();
    expect(maskingStudy(evaluationOf([1], { fgs: [NaN] }))!.conclusion).toMatch(
      /nothing was attacked/,
    );
  });
});
