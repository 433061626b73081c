import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { packageRoot } from '#bang/base/files.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import { parseConfig } from '#bang/config/parse.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { configFiles, valid } from './configFiles.js';

const { folder, write, complaints, load, remove } = configFiles();
afterAll(remove);

describe('broken YAML', () => {
  it.each([
    ['model: [lenet\ndata: mnist\n', /^x\.yaml:2:1: flow sequence in block collection must/],
    ['a: 1\n\tb: 2\n', /^x\.yaml:2:1: tabs are not allowed as indentation$/],
    ['a:\n   b: 1\n  c: 2\n', /^x\.yaml:3:1: all mapping items must start at the same column$/],
    ['seed: 1\nseed: 2\n', /^x\.yaml:2:1: seed: duplicate key, first in line 1$/],
    ['seed: 1\n---\nseed: 2\n', /^x\.yaml:[23]:\d: a second document begins here/],
    ['', /^x\.yaml:1:1: empty, expected keys and values/],
    ['# nothing\n', /^x\.yaml:1:1: empty, expected/],
    ['~\n', /^x\.yaml:1:1: expected keys and values, such as model: lenet, found a single value$/],
    ['\n- a\n', /^x\.yaml:2:1: expected keys .* found a list$/],
    ['? [a]\n: 1\n', /^x\.yaml:1:3: expected a word as the key$/],
    ['a: *none\n', /^x\.yaml:1:4: there is no anchor &none before this alias$/],
    ['a: !odd 1\n', /^x\.yaml:1:4: unresolved tag: !odd$/],
    ['%YAML 1.1\n---\na: yes\n', /^x\.yaml:1:1: this is YAML 1\.1; expected YAML 1\.2/],
    ['a: &a [*a]\n', /nested too deeply$/],
    [`a: ${'['.repeat(50)}${']'.repeat(50)}\n`, /nested too deeply$/],
    ['['.repeat(200_000), /nested too deeply$/],
    [`a: [${'1,'.repeat(20_000)}]\n`, /more than 10000 values/],
  ])('%.40j', async (text, expected) => {
    const [first] = await complaints(write('x.yaml', text));
    expect(first).toMatch(expected);
  });

  it('stops at aliases that multiply', async () => {
    const bomb = ['a: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]'];
    for (let i = 1; i < 10; i++) {
      bomb.push(`b${i}: &x${i} [${Array.from({ length: 10 }, () => `*x${i - 1}`).join(', ')}]`);
    }
    const lines = await complaints(write('x.yaml', bomb.join('\n')));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('more than 10000 values, aliases counted each time');
  });

  it('finds duplicates among very many keys quickly', async () => {
    const keys = Array.from({ length: 9000 }, (_, i) => `k${i}: 1\n`).join('');
    expect(await complaints(write('x.yaml', `${keys}k0: 2\n`))).toEqual([
      'x.yaml:9001:1: k0: duplicate key, first in line 1',
    ]);
  });

  it('refuses files that are not text', async () => {
    expect(await complaints(path.join(folder, 'none.yaml'))).toEqual([
      'cannot read none.yaml: there is no such file',
    ]);
    mkdirSync(path.join(folder, 'folder.yaml'));
    expect(await complaints(path.join(folder, 'folder.yaml'))).toEqual([
      'cannot read folder.yaml: it is a folder',
    ]);
    expect(await complaints('/dev/zero')).toEqual([
      'cannot read /dev/zero: it is not a regular file',
    ]);
    expect(await complaints(write('x.yaml', `#${'x'.repeat(1_000_000)}`))).toEqual([
      'x.yaml is larger than 1 MB: that is not a configuration',
    ]);
    for (const bytes of [
      Buffer.from('a: \0'),
      Buffer.from([0x61, 0x3a, 0xff]),
      Buffer.from('a: b', 'utf16le'),
    ]) {
      expect(await complaints(write('x.yaml', bytes))).toEqual([
        'x.yaml is not a text file in UTF-8',
      ]);
    }
  });
});

describe('a value that is refused', () => {
  it.each([
    ['seed=1.10', 'seed: expected an integer from 0 to 4294967295, found 1.10'],
    ['seed=-007', 'seed: expected an integer from 0 to 4294967295, found -007'],
    ['seed=1e999', 'seed: expected an integer from 0 to 4294967295, found 1e999'],
    ['seed=12345678901234567890', /, found 12345678901234567890$/],
    [`seed=1.5${'0'.repeat(99)}`, /, found 1\.50{57}…$/],
    ['evaluation.pass=0x10', 'evaluation.pass: expected true or false, found 0x10'],
    ['evaluation.attacks=[fgs, True]', /attacks\[1\]: expected .*, found True$/],
    [
      'description=1.10',
      'description: expected a text, found 1.10; in quotes it is a text: "1.10"',
    ],
    ['name=007', /, found 007; in quotes it is a text: "007"$/],
    ['seed="007"', 'seed: expected an integer from 0 to 4294967295, found "007"'],
  ])('is quoted as it is written: %s', async (override, expected) => {
    const [key, value] = override.split('=');
    const at = key.split('.');
    const deep = at.reduceRight((inner, name) => `{${name}: ${inner}}`, value);
    const file = write('x.yaml', `extends: base.yaml\n${deep.slice(1, -1)}\n`);
    write('base.yaml', valid);
    const [line] = await complaints(file);
    const said = line.replace(/^x\.yaml:2:\d+: /, '');
    if (typeof expected === 'string') expect(said).toBe(expected);
    else expect(said).toMatch(expected);
    const [set] = await complaints(write('y.yaml', valid), [override]);
    expect(set.slice(-8)).toBe(line.slice(-8));
  });
});

describe('merge keys and keys that begin with x-', () => {
  const anchors = `x-rate: &rate {policy: inv, base: 0.01, gamma: 0.0001, power: 0.75}
x-common: &common {iterations: 10000, batch: 64, momentum: 0.9}
`;
  const head = 'model: lenet\ndata: mnist\n';

  it('give the same as the keys written out', async () => {
    const bang = 'bang: {beta: 1.0, epsilon: 0.815}';
    const plain = await load(valid);
    const rest = `learningRate: *rate, weightDecay: 0.0005, ${bang}`;
    expect(await load(`${anchors}${head}training: {<<: *common, ${rest}}\n`)).toEqual(plain);
    // The mapping's own keys count, wherever `<<` is; of several mappings, the first.
    const own = `training: {batch: 64, <<: [*common, {batch: 1, momentum: 0}], ${rest}}\n`;
    expect(await load(`${anchors.replace('64', '2')}${head}${own}`)).toEqual(plain);
    const nested = `x-more: &more {<<: *common, momentum: 0.9}\n`;
    const deep = `${anchors.replace('0.9', '0')}${nested}${head}training: {<<: *more, ${rest}}\n`;
    expect(await load(deep)).toEqual(plain);
  });

  it('work in files that are extended, and for the whole file', async () => {
    write('base.yaml', valid);
    const text = 'x-all: &all {seed: 5, name: a}\nextends: base.yaml\n<<: *all\nname: b\n';
    expect(await load(text)).toMatchObject({ seed: 5, name: 'b', model: 'lenet' });
  });

  it.each([
    ['<<: 1', 'x.yaml:1:5: <<: expected a mapping to merge, such as *anchor, or a list of them'],
    ['<<:', 'x.yaml:1:4: <<: expected a mapping to merge, such as *anchor, or a list of them'],
    ['<<: [{}, a]', /^x\.yaml:1:10: <<: expected a mapping/],
    ['<<: {}\n<<: {}', 'x.yaml:2:1: a second << in one mapping: give one, with a list'],
    [`<<: {sead: 1}\n${valid}`, 'x.yaml:1:6: sead: unknown key, did you mean seed?'],
    [`"<<": {seed: 1}\n${valid}`, /^x\.yaml:1:1: "<<": unknown key, /],
    [`training: {x-a: 1}\n`, /training\.x-a: unknown key/],
    [`a: &a {<<: *a}\n`, /nested too deeply$/],
  ])('%.40j is refused', async (text, expected) => {
    const lines = await complaints(write('x.yaml', text));
    expect(lines).toContainEqual(
      typeof expected === 'string' ? expected : expect.stringMatching(expected),
    );
  });
});

describe('a file that is not there', () => {
  it('may have a similar name', async () => {
    write('near/lenet-b1.yaml', valid);
    write('near/lenet-b1.csv', '');
    write('near/other.yml', valid);
    const near = (name: string) => `cannot read ${name}: there is no such file`;
    for (const name of [
      'lenet-b1.yml',
      'lenet-b1',
      'lenet-b1.yalm',
      'lenet_b1.yaml',
      'LeNet-B1.yaml',
    ]) {
      expect(await complaints(path.join(folder, 'near', name))).toEqual([
        `${near(`near/${name}`)}, did you mean near/lenet-b1.yaml?`,
      ]);
    }
    expect(await complaints(path.join(folder, 'naer', 'othr.yaml'))).toEqual([
      `${near('naer/othr.yaml')}, did you mean near/other.yml?`,
    ]);
    for (const name of ['near/lenet-b1.json', 'near/none.yaml', 'far/lenet-b1.yaml']) {
      expect(await complaints(path.join(folder, name))).toEqual([near(name)]);
    }
    expect(await complaints(write('x.yaml', 'extends: near/othre.yaml'))).toEqual([
      `x.yaml:1:10: extends: ${near('near/othre.yaml')}, did you mean near/other.yml?`,
    ]);
  });
});

describe('extends', () => {
  it('merges mappings, replaces lists and numbers, and drops what is null', async () => {
    write('base/a.yaml', `${valid}evaluation: {attacks: [fgs], images: 100}\nname: inherited\n`);
    write('base/b.yaml', 'extends: a.yaml\ntraining: {batch: 32, bang: null}\nseed: 7\n');
    const file = write(
      'c.yaml',
      'extends: base/b.yaml\ntraining: {bang: {beta: 2, epsilon: 1}}\nevaluation: {attacks: [hc1]}\nname: null\n',
    );
    const { config, sources } = await loadConfig(file);
    expect(config.training).toMatchObject({ batch: 32, iterations: 10000 });
    expect(config.training.bang).toEqual({ beta: 2, epsilon: 1, ratio: 1 });
    expect(config.evaluation).toMatchObject({ attacks: ['hc1'], images: 100 });
    expect(config).toMatchObject({ seed: 7, name: 'c' });
    expect(sources).toEqual(
      ['c.yaml', 'base/b.yaml', 'base/a.yaml'].map((f) => path.join(folder, f)),
    );
  });

  it('does not restore the contents of a key that a base sets to null', async () => {
    write('a.yaml', valid);
    write('b.yaml', 'extends: a.yaml\ntraining: {bang: null}\n');
    const file = write('c.yaml', 'extends: b.yaml\ntraining:\n  bang: {beta: 2}\n');
    expect(await complaints(file)).toEqual([
      'c.yaml:3:3: training.bang.epsilon: missing, expected a number, 0 or more, or a mapping with one for each weighted layer, or adaptive',
    ]);
  });

  it.each([
    ['training: {epsilon: 1}', 'training.adversarial.epsilon or training.bang.epsilon?'],
    ['evaluation: {beta: 1}', 'training.bang.beta?'],
    ['evaluation: {steps: 1}', 'evaluation.pgd.steps or evaluation.apgd.steps?'],
    // There are too many.
    ['seed: 1\nmax: 2', undefined],
  ])('%s: the keys of that name nearest to it are what may be meant', async (text, places) => {
    const [line] = (await complaints(write('x.yaml', text))).filter((one) =>
      one.includes('unknown key'),
    );
    if (places === undefined) expect(line).not.toContain('did you mean');
    else expect(line).toMatch(`unknown key, did you mean ${places}`);
  });

  it('reports the file of each mistake', async () => {
    write('base.yaml', valid.replace('beta', 'betta').replace('64', 'many'));
    const file = write('x.yaml', 'extends: base.yaml\ntraining: {bang: {beta: 1}}\nsead: 2\n');
    expect(await complaints(file)).toEqual([
      'x.yaml:3:1: sead: unknown key, did you mean seed?',
      'base.yaml:5:10: training.batch: expected an integer, 1 or more, found "many"',
      'base.yaml:10:5: training.bang.betta: unknown key, did you mean beta?',
    ]);
  });

  it('can change the policy of the learning rate', async () => {
    write('base.yaml', valid);
    const rate = 'learningRate: {policy: fixed, base: 0.5, gamma: null, power: null}';
    const { training } = await load(`extends: base.yaml\ntraining:\n  ${rate}\n`);
    expect(training.learningRate).toEqual({ policy: 'fixed', base: 0.5 });
  });

  it('refuses circles, even through links', async () => {
    write('a.yaml', 'extends: b.yaml\n');
    write('b.yaml', 'extends: ./a.yaml\n');
    expect(await complaints(path.join(folder, 'a.yaml'))).toEqual([
      'b.yaml:1:10: extends: a circle, a.yaml extends b.yaml extends a.yaml',
    ]);
    symlinkSync('.', path.join(folder, 'loop'));
    const [line] = await complaints(write('self.yaml', 'extends: loop/self.yaml\n'));
    expect(line).toMatch(/^self\.yaml:1:10: extends: a circle, /);
  });

  it.each([
    ['extends: none.yaml', 'x.yaml:1:10: extends: cannot read none.yaml: there is no such file'],
    ['extends: .', /^x\.yaml:1:10: extends: cannot read .*: it is a folder$/],
    [
      'extends: [a.yaml]',
      'x.yaml:1:10: extends: expected the path of one file, relative to this one',
    ],
    ['extends: ""', 'x.yaml:1:10: extends: expected the path of one file, relative to this one'],
  ])('%j', async (text, expected) => {
    const [line] = await complaints(write('x.yaml', text));
    expect(line).toMatch(expected);
  });

  it('refuses a file of another kind', async () => {
    write('sweep.yaml', 'base: y.yaml\ngrid: {seed: [1]}\n');
    write('study.yaml', 'study: noise\n');
    const kinds = [
      ['sweep.yaml', 'sweep'],
      ['study.yaml', 'noise study'],
    ];
    for (const [name, kind] of kinds) {
      expect(await complaints(write('x.yaml', `extends: ${name}\n${valid}`))).toEqual([
        `x.yaml:1:10: extends: ${name} describes a ${kind}: name an experiment`,
      ]);
    }
  });

  it('may be null, and reports errors in the base', async () => {
    expect((await load(`extends: null\n${valid}`)).model).toBe('lenet');
    write('broken.yaml', 'a: [');
    const [line] = await complaints(write('x.yaml', 'extends: broken.yaml'));
    expect(line).toMatch(/^broken\.yaml:1:5: /);
  });
});

describe('--set', () => {
  it('changes, adds and removes', async () => {
    const config = await load(valid, [
      'training.bang.beta=1.2',
      'training.bang.epsilon={conv1: 1, conv2: 2, ip1: 3, ip2: 4}',
      'evaluation.attacks=[hc1]',
      'seed=9',
      'seed=10',
      'description=a=b',
    ]);
    expect(config.training.bang?.beta).toBe(1.2);
    expect(config.training.bang?.epsilon).toEqual({ conv1: 1, conv2: 2, ip1: 3, ip2: 4 });
    expect(config.evaluation.attacks).toEqual(['hc1']);
    expect(config).toMatchObject({ seed: 10, description: 'a=b' });
    expect(config.training.momentum).toBe(0.9);
    expect((await load(valid, ['training.bang=null'])).training.bang).toBeUndefined();
  });

  it.each([
    ['training.bang.betta=1', '--set training.bang.betta: unknown key, did you mean beta?'],
    ['training.bangg=null', '--set training.bangg: unknown key, did you mean bang?'],
    [
      'training.bang={betta: 1}',
      '--set training.bang: training.bang.betta: unknown key, did you mean beta?',
    ],
    ['seed=x', '--set seed: expected an integer from 0 to 4294967295, found "x"'],
    [
      'training.batch.size=1',
      '--set training.batch.size: training.batch: expected an integer, 1 or more, found a mapping',
    ],
    ['training.batch=null', '--set training.batch: missing, expected an integer, 1 or more'],
    ['seed', '--set seed: expected key=value, such as seed=2'],
    ['training..batch=1', '--set training..batch: expected key=value, such as seed=2'],
    [`${'a.'.repeat(50_000)}a=1`, 'expected key=value'],
    ['=1', '--set : expected key=value, such as seed=2'],
    ['seed=', '--set seed: expected a value after =; seed=null removes the key'],
    ['seed=[1', '--set seed: '],
    ['extends=base.yaml', '--set extends: only a file can extend another'],
  ])('%.60j is refused with a message', async (override, expected) => {
    const lines = await complaints(write('x.yaml', valid), [override]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(expected);
  });

  it('reports a key that the file lacks with its place in the file', async () => {
    const file = write('x.yaml', valid.replace('  momentum: 0.9\n', ''));
    expect(await complaints(file, ['training.batch=8'])).toEqual([
      'x.yaml:3:1: training.momentum: missing, expected a number from 0 to below 1',
    ]);
  });
});

describe('random mutations of a valid file', () => {
  it('result in an experiment or a UserError', async () => {
    const program = path.join(packageRoot, 'scripts', 'fuzz', 'mutate.mjs');
    const { mutateText } = (await import(pathToFileURL(program).href)) as {
      mutateText: (random: Random, text: string) => string;
    };
    let good = 0;
    for (let seed = 0; seed < 1500; seed++) {
      const text = mutateText(makeRandom(seed, 'mutation'), valid);
      try {
        const config = await load(text);
        expect(JSON.stringify(parseConfig(config))).toBe(JSON.stringify(config));
        good++;
      } catch (error) {
        if (!(error instanceof UserError)) {
          throw new Error(`seed ${seed}: ${JSON.stringify(text)}`, { cause: error });
        }
        expect(error.message).not.toMatch(/undefined|\[object/);
      }
    }
    expect(good).toBeGreaterThan(20);
  });
});
