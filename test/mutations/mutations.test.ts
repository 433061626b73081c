import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { bang, workspace, type Workspace } from '../cli/bang.js';

/** One expression of the compiled program in another's place. */
interface Edit {
  file: string;
  from: string;
  to: string;
}

/** A program that is wrong, the config that shall notice it, and the figures by which it does. */
interface Mutation {
  name: string;
  config: string;
  edits: Edit[];
  out: string[];
}

const SCALED = 'etas.set(layer.name, eta);';

const mutations: Mutation[] = [
  {
    name: 'η is ignored',
    config: 'lenet-b1',
    edits: [
      {
        file: 'training/bang.js',
        from: 'const balanced = eta(norm, epsilonHat);',
        to: 'const balanced = tf.onesLike(epsilonHat);',
      },
    ],
    out: ['fgs_rate', 'fgs_linf_mean'],
  },
  {
    name: 'κ is scaled before it is passed down',
    config: 'lenet-b1',
    edits: [
      {
        file: 'training/step.js',
        from: SCALED,
        to: `${SCALED}
        const [values, factors] = [Float32Array.from(kappa.dataSync()), scale.dataSync()];
        const each = values.length / factors.length;
        values.forEach((value, i) => { values[i] = value * factors[Math.floor(i / each)]; });
        return tf.tensor(values, kappa.shape);`,
      },
      {
        file: 'model/network.js',
        from: 'const kappa = kappas.get(i);',
        to: 'let kappa = kappas.get(i);',
      },
      {
        file: 'model/network.js',
        from: 'visit?.(layer, kappa, activations[i]);',
        to: 'kappa = visit?.(layer, kappa, activations[i]) ?? kappa;',
      },
    ],
    out: ['fgs_linf_mean', 'hc1_linf_std'],
  },
  {
    name: 'ratio is swapped: ε·ratio for what is classified correctly',
    config: 'lenet-ratio',
    edits: [
      {
        file: 'training/bang.js',
        from: 'tf.add(tf.mul(correct, epsilon * (1 - ratio)), epsilon * ratio)',
        to: 'tf.add(tf.mul(correct, epsilon * (ratio - 1)), epsilon)',
      },
    ],
    out: ['fgs_rate', 'fgs_linf_mean'],
  },
  {
    name: 'FGS goes the wrong way',
    config: 'lenet-r0',
    edits: [
      {
        file: 'attacks/fgs.js',
        from: 'direction: (gradient) => tf.sign(gradient)',
        to: 'direction: (gradient) => tf.neg(tf.sign(gradient))',
      },
    ],
    out: ['fgs_linf_mean'],
  },
  {
    name: 'PASS is of images that are not aligned',
    config: 'lenet-r0',
    edits: [{ file: 'metrics/pass.js', from: 'if (align())', to: 'if (false)' }],
    out: ['fgs_aligned_rate', 'hc1_aligned_rate'],
  },
  {
    name: 'the mean image is not subtracted',
    config: 'cifar10-b0',
    edits: [
      {
        file: 'model/network.js',
        from: 'return mean;',
        to: 'return undefined;',
      },
    ],
    out: ['accuracy'],
  },
];

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

/** A copy of the program with these edits, each of which must fit exactly once. */
function mutant(name: string, edits: readonly Edit[]): string {
  const program = space.file(name);
  mkdirSync(path.join(program, 'results'), { recursive: true });
  const copied = ['bin', 'dist', 'configs', 'package.json', 'results/paper-tables.json'];
  for (const part of copied) {
    cpSync(path.join(packageRoot, part), path.join(program, part), { recursive: true });
  }
  // The kernels are looked for beside native/, where it really is.
  for (const part of ['node_modules', 'native']) {
    symlinkSync(path.join(packageRoot, part), path.join(program, part));
  }
  for (const { file, from, to } of edits) {
    const place = path.join(program, 'dist', file);
    const parts = readFileSync(place, 'utf8').split(from);
    expect(parts, `${file} has once: ${from}`).toHaveLength(2);
    writeFileSync(place, parts.join(to));
  }
  return program;
}

/** `bang check` of one config by a program, and the figures that are out of their bands. */
async function check(
  program: string,
  config: string,
): Promise<{ code: number | null; out: string[] }> {
  const json = path.join(program, 'verdict.json');
  const args = ['check', path.join('configs', 'ci', `${config}.yaml`), '--json', json];
  const { code, stderr } = await bang(args, { cwd: program, program });
  expect(stderr).not.toMatch(/defect of the program|could not be checked/);
  const { configs } = JSON.parse(readFileSync(json, 'utf8')) as {
    configs: { problem: unknown; checks: { figure: string; holds: boolean }[] }[];
  };
  expect(configs).toMatchObject([{ problem: null }]);
  const out = configs[0].checks.filter(({ holds }) => !holds).map(({ figure }) => figure);
  return { code, out };
}

describe.concurrent('bang check', () => {
  it.each(mutations.map((mutation) => [mutation.name, mutation] as const))(
    'goes red where %s',
    async (name, { config, edits, out }) => {
      const found = await check(mutant(name, edits), config);
      expect(found.out).toEqual(expect.arrayContaining(out));
      expect(found.code).toBe(1);
    },
  );

  // The program itself is green on all of them: .ci/run.
  it('is green on a copy in which nothing is wrong', async () => {
    expect(await check(mutant('whole', []), 'lenet-r0')).toEqual({ code: 0, out: [] });
  });
});
