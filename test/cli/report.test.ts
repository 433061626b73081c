import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, rmSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { decodeSafetensors, encodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import {
  bangInside,
  bangInsideOk,
  executable,
  expectRefusal,
  tinyConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyConfig());
  await bangInsideOk(
    [
      'run',
      'tiny.yaml',
      '--data-dir',
      'data',
      '--set',
      'training.iterations=20',
      '--set',
      'evaluation.images=30',
      '--out',
      'runs/tiny',
    ],
    { cwd: space.folder },
  );
});
afterAll(() => {
  space.remove();
});

const results = (name: string): string => path.join(packageRoot, 'results', name);

describe('bang report', () => {
  it('writes one file that loads nothing, the same every time', async () => {
    const { stdout, stderr } = await bangInsideOk(['report', 'runs', '--data-dir', 'data'], {
      cwd: space.folder,
    });
    expect(stdout).toMatch(/^Files: report\.html \(\d+\.\d MiB\)\n$/);
    expect(stderr).not.toMatch(/note:/);
    const page = space.read('report.html');
    const policy = /http-equiv="Content-Security-Policy"\s+content="([^"]*)"/
      .exec(page)![1]
      .replaceAll('&#39;', "'");
    const digest = (text: string): string =>
      `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    const [, style] = /<style>(.*?)<\/style>/s.exec(page)!;
    const [, script] = /<script type="module">(.*?)<\/script>/s.exec(page)!;
    expect(policy.split('; ').sort()).toEqual(
      [
        "default-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        'img-src data:',
        `script-src ${digest(script)}`,
        `style-src ${digest(style)}`,
      ].sort(),
    );
    // Nothing is fetched: what links lead to is only for people who follow them.
    const addresses = [...page.matchAll(/\b(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
    const outside = addresses.filter((address) => !/^(#|data:)/.test(address));
    expect(outside).toEqual(['https://arxiv.org/abs/1612.00138']);
    expect(style).not.toMatch(/url\(|@import/);
    await bangInsideOk(
      ['report', 'runs', '--data-dir', 'data', '--out', 'again.html', '--threads', '2'],
      { cwd: space.folder },
    );
    expect(space.read('again.html')).toBe(page);
  });

  it('replaces a page of its own, and no other file', async () => {
    const cwd = space.folder;
    space.write('empty.html', '');
    const page = ['report', 'runs', '--examples', '0', '--out'];
    for (let time = 0; time < 2; time++) await bangInsideOk([...page, 'empty.html'], { cwd });
    const { stdout } = await bangInsideOk([...page, 'two\nlines.html'], { cwd });
    expect(stdout).toMatch(/^Files: two\uFFFDlines\.html \(\S+ MiB\)\n$/);
    const before = space.contents('runs/tiny');
    const refused = await bangInside(['report', 'runs', '--out', 'runs/tiny/result.json'], { cwd });
    expectRefusal(refused, /result\.json would overwrite a file that is not a page of bang report/);
    // More than fits into a text.
    space.write('large', '');
    truncateSync(space.file('large'), 2 ** 30);
    expectRefusal(await bangInside([...page, 'large'], { cwd }), /large would overwrite a file/);
    expect(space.contents('runs/tiny')).toEqual(before);
  });

  it('says why examples are not computed, and then shows those that the run kept', async () => {
    const none = space.file('none.html');
    const noWeights = await bangInside(['report', results('table1'), '--out', none]);
    expect(noWeights).toMatchObject({ code: 0, stderr: '' });
    expect(space.read('none.html')).toMatch(/no folder of these runs holds\s+any/);
    expect(space.read('none.html')).not.toMatch(/class="gallery"/);

    cpSync(space.file('runs/tiny'), space.file('other/tiny'), { recursive: true });
    const kept = (
      JSON.parse(space.read('other/tiny/examples.json')) as { images: { position: number }[] }
    ).images.map(({ position }) => position);
    const expectKept = (page: string): void => {
      const shown = [...space.read(page).matchAll(/<h4>Test image (\d+):/g)];
      expect(shown.map(([, position]) => Number(position))).toEqual(kept);
    };
    const other = await bangInsideOk(
      ['report', 'other', '--out', 'other.html', '--data-dir', 'data'],
      {
        cwd: space.folder,
      },
    );
    expect(other.stderr).not.toMatch(/note:/);
    writeSmallData(space, 'more', { seed: 2 });
    const moved = await bangInsideOk(
      ['report', 'other', '--out', 'moved.html', '--data-dir', 'more'],
      {
        cwd: space.folder,
      },
    );
    expect(moved.stderr).toMatch(
      /^note: examples of tiny .* are those that the run kept: they were made on other data; --data-dir says where those are$/m,
    );
    expectKept('moved.html');
    const weights = space.bytes('other/tiny/weights.safetensors');
    // Whole, but of another training: as files of earlier versions, it has no checksum.
    const { tensors } = await readWeights(space.file('other/tiny/weights.safetensors'));
    tensors.get('ip2.bias')!.data.fill(0);
    const { metadata } = decodeSafetensors(weights, 'weights');
    delete metadata.sha256;
    space.write('other/tiny/weights.safetensors', encodeSafetensors(tensors, metadata));
    const changed = await bangInsideOk(
      ['report', 'other', '--out', 'changed.html', '--data-dir', 'data'],
      { cwd: space.folder },
    );
    expect(changed.stderr).toMatch(
      /^note: examples of tiny .* are those that the run kept: .*weights\.safetensors does not belong to the result$/m,
    );
    expectKept('changed.html');
    space.write('other/tiny/weights.safetensors', 'damaged');
    const damaged = await bangInsideOk(
      ['report', 'other', '--out', 'damaged.html', '--data-dir', 'data'],
      { cwd: space.folder },
    );
    expect(damaged.stderr).toMatch(/^note: examples of tiny .* kept: .*weights\.safetensors/m);
    expectKept('damaged.html');
    rmSync(space.file('other/tiny/examples.json'));
    const bare = await bangInsideOk(
      ['report', 'other', '--out', 'bare.html', '--data-dir', 'data'],
      {
        cwd: space.folder,
      },
    );
    expect(bare.stderr).toMatch(/^note: no examples of tiny .*weights\.safetensors/m);
    expect(space.read('bare.html')).not.toMatch(/class="gallery"/);
    expect(space.read('damaged.html')).toMatch(/Left out/);
    expect(space.read('bare.html')).toMatch(/no examples; <a href="#left-out">Left out<\/a>/);
  });

  it('has no gallery of networks that classify nothing, nor where none is asked for', async () => {
    cpSync(space.file('runs/tiny'), space.file('wrong/tiny'), { recursive: true });
    rmSync(space.file('wrong/tiny/weights.safetensors'));
    const examples = JSON.parse(space.read('wrong/tiny/examples.json')) as object;
    space.write('wrong/tiny/examples.json', JSON.stringify({ ...examples, images: [] }));
    const cwd = space.folder;
    const { stderr } = await bangInsideOk(['report', 'wrong', '--out', 'wrong.html'], { cwd });
    expect(stderr).toBe(
      'note: no examples of tiny (30 images): no image is classified correctly\n',
    );
    expect(space.read('wrong.html')).not.toMatch(/class="gallery"/);
    await bangInsideOk(['report', 'runs', '--examples', '0', '--out', 'zero.html'], { cwd });
    expect(space.read('zero.html')).not.toMatch(/Adversarial examples</);
  });

  it('shows unfinished runs, and names damaged ones', async () => {
    cpSync(space.file('runs/tiny'), space.file('mixed/tiny'), { recursive: true });
    space.write('mixed/open/config.yaml', 'name: waiting\ntraining: { iterations: 50 }\n');
    space.write(
      'mixed/open/training.csv',
      'iteration,learning_rate,loss,train_accuracy,validation_accuracy\n10,0.01,2.25,12.5,\n',
    );
    space.write('mixed/cut/config.yaml', 'name: cut\ntraining: { iterations: 50 }\n');
    space.write('mixed/cut/training.csv', 'iteration,loss\n1,0.5\n?,\n');
    space.write('mixed/damaged/result.json', '{');
    space.write('mixed/sweep/sweep.yaml', 'nonsense: [');
    space.write('mixed/study/study.yaml', 'x: 1\n');
    space.write('mixed/study/result.json', '{ "format": 1, "kind": "noise" }');
    const { stderr } = await bangInsideOk(
      ['report', 'mixed', '--examples', '0', '--out', 'mixed.html'],
      {
        cwd: space.folder,
      },
    );
    const page = space.read('mixed.html');
    expect(page).toMatch(/waiting<\/b>\s+iteration 10 of 50, loss 2\.25\s/);
    expect(page).toMatch(/cut<\/b>\s+has begun\s/);
    expect(page).not.toMatch(/class="gallery"/);
    expect(stderr.split('\n').filter((line) => line.startsWith('note: '))).toEqual([
      'note: mixed/damaged/result.json is damaged: it is left out',
      expect.stringMatching(/^note: the sweep in mixed\/sweep is left out: /),
      'note: mixed/study/result.json is damaged: it is left out',
    ]);
    rmSync(space.file('mixed/study/result.json'));
    space.write('mixed/study/result.json/file', 'in the way');
    const again = await bangInsideOk(
      ['report', 'mixed', '--examples', '0', '--out', 'mixed.html'],
      {
        cwd: space.folder,
      },
    );
    expect(again.stderr).toMatch(/^note: the study in mixed\/study is left out: cannot read /m);
  });

  it('shows two sweeps with the same name', async () => {
    const text = `name: Same\nbase: ${space.file('tiny.yaml')}\ngrid: {training.batch: [1, 2]}\n`;
    space.write('sweeps/a/sweep.yaml', text);
    space.write('sweeps/b/sweep.yaml', text);
    space.write('sweeps/c/sweep.yaml', text.replace('Same', 'same'));
    space.write('sweeps/d/sweep.yaml', text.replace('[1, 2]', '[1, 2, 3]'));
    // What is in a section has no section's name.
    for (const part of ['points', 'title'])
      space.write(`sweeps/${part}/sweep.yaml`, text.replace('Same', `same-${part}`));
    const args = ['report', space.file('sweeps'), '--out', space.file('sweeps.html')];
    expect(await bangInside(args)).toMatchObject({ code: 0 });
    const page = space.read('sweeps.html');
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(ids).toEqual([...new Set(ids)]);
    expect(ids).toEqual(expect.arrayContaining(['sweep-same', 'sweep-same_2', 'sweep-same_3']));
    const titles = [...page.matchAll(/<h2 id="sweep-[^>]*>([^<]*)</g)].map(([, title]) => title);
    expect(titles).toEqual([
      `Sweep Same (batch [1,2]) in ${space.file('sweeps/a')}`,
      `Sweep Same (batch [1,2]) in ${space.file('sweeps/b')}`,
      'Sweep same',
      'Sweep Same (batch [1,2,3])',
      'Sweep same-points',
      'Sweep same-title',
    ]);
  });

  it('refuses input without results in one sentence, and writes nothing', async () => {
    const refused = async (args: string[], message: RegExp): Promise<void> => {
      expectRefusal(await bangInside(['report', ...args]), message);
    };
    const { file } = space;
    const out = ['--out', file('no.html')];
    space.write('empty place/nothing.txt', '');
    await refused(
      [file('empty place'), ...out],
      /no finished run, sweep or study in .*empty place or below; bang run lenet-b1 --out '.*empty place\/lenet-b1' makes one in minutes\n/,
    );
    await refused([file('nowhere'), ...out], /cannot read .*nowhere: there is no such folder/);
    await refused([file('tiny.yaml'), ...out], /cannot read .*tiny\.yaml: it is not a folder/);
    await refused([file('runs'), '--out', file('runs')], /--out .*runs is a folder: name a file/);
    await refused(
      [file('runs'), ...out, '--examples', 'many'],
      /--examples: expected a whole number from 0 to 100, found many/,
    );
    await refused(
      [file('runs'), '--out', file('tiny.yaml/report.html'), '--examples', '0'],
      /cannot write .*report\.html: a part of the path is a file/,
    );
    await refused(out, /an argument is missing: bang report <results\.\.>/);
    expect(space.list('.')).not.toContain('no.html');
  });
});

describe('bang view', () => {
  it('refuses what it cannot serve', async () => {
    const refused = async (args: string[], message: RegExp): Promise<void> => {
      expectRefusal(await bangInside(['view', ...args]), message);
    };
    for (const port of ['0', '65536', 'http', '80.5', '-1']) {
      await refused(
        [space.file('runs'), `--port=${port}`],
        /--port: expected a whole number from 1 to 65535, found /,
      );
    }
  });

  it('waits for a folder, serves it at a secret address, and goes on serving while it draws', async () => {
    const args = ['view', 'later', '--data-dir', 'data', '--examples', '1'];
    const child = spawn(process.execPath, [executable(), ...args], { cwd: space.folder });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    try {
      let [stdout, stderr] = ['', ''];
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      await expect
        .poll(() => stderr)
        .toContain('later does not exist yet: waiting for it (Ctrl-C ends this)\n');
      expect(stdout).toBe('');
      cpSync(space.file('runs'), space.file('later'), { recursive: true });
      await expect.poll(() => stdout).toMatch(/ \(Ctrl-C ends it\)\n$/);
      const [url] = stdout.split(' ');
      expect((await fetch(new URL('/', url))).status).toBe(404);
      // The first page says that examples are being computed, and comes before they are there.
      const page = async () => (await fetch(url)).text();
      expect(await page()).not.toContain('data:image/png');
      await expect.poll(page, { interval: 200 }).toContain('data:image/png');
      child.kill('SIGINT');
      expect(await ended).toBe(130);
      expect(stderr).not.toMatch(/defect|^ +at /m);
    } finally {
      child.kill('SIGKILL');
    }
  }, 240_000);

  it('has help, as bang report does', async () => {
    for (const command of ['report', 'view']) {
      const { stdout, code } = await bangInside([command, '--help'], { cwd: space.folder });
      expect(code).toBe(0);
      expect(stdout).toMatch(/Examples:/);
      expect(stdout).toMatch(/--examples/);
    }
  });
});
