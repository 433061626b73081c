import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { meanImageOf } from '#bang/model/mean.js';
import { encodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { makeRandom } from '#bang/base/random.js';
import { fixture } from '../fixtures.js';
import {
  asNobody,
  bangInside,
  bangInsideOk,
  expectRefusal,
  type Finished,
  workspace,
  type Workspace,
} from './bang.js';
import * as tf from '@tensorflow/tfjs-core';

const LENET = fixture('lenet.caffemodel.h5');
const CIFAR10 = fixture('cifar10_bang.caffemodel.h5');

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

/** Runs `bang export`, which must succeed; returns the file. */
async function exported(weights: string, to: string, name: string): Promise<string> {
  const out = space.file(name);
  const finished = await bangInside(['export', weights, '--to', to, '--out', out]);
  expect(finished, finished.stderr).toMatchObject({ code: 0 });
  expect(finished.stdout).toContain(`wrote ${out}, `);
  return out;
}

describe('bang export', () => {
  it('has the same bits after a round trip through Caffe’s format', async () => {
    const { tensors } = await readWeights(CIFAR10);
    tensors.set('mean', { shape: [3, 32, 32], data: new Float32Array(3072).fill(120.5) });
    const bytes = encodeSafetensors(tensors, { bang: '0.1.0', data: 'ü "x"', 'a key': '' });
    const first = space.write('first.safetensors', bytes);
    const caffe = await exported(first, 'caffe-hdf5', 'there.h5');
    const back = await exported(caffe, 'safetensors', 'back.safetensors');
    expect(readFileSync(back).equals(bytes)).toBe(true);
    const again = await exported(back, 'safetensors', 'again.safetensors');
    expect(readFileSync(again).equals(bytes)).toBe(true);
  });

  it("adds the mean training image that Caffe's files lack", async () => {
    const out = await exported(CIFAR10, 'safetensors', 'cifar10.safetensors');
    const { train } = await loadData('cifar10');
    const mean = tf.transpose(meanImageOf(train), [2, 0, 1]);
    const { tensors } = await readWeights(out);
    expect(tensors.get('mean')).toEqual({ shape: [3, 32, 32], data: mean.dataSync() });
    const pixel = [0, 1, 2].map((c) =>
      tensors.get('mean')!.data.subarray(c * 1024, c * 1024 + 1024),
    );
    // The published means of the channels.
    [125.3069, 122.9504, 113.8654].forEach((published, c) => {
      expect(pixel[c].reduce((a, b) => a + b, 0) / 1024).toBeCloseTo(published, 3);
    });
  });

  it('writes next to the weights, and names the file', async () => {
    const weights = space.write('runs/x/weights.safetensors', await lenet());
    const { stdout, code } = await bangInside(['export', weights, '--to', 'onnx']);
    const out = space.file('runs/x/weights.onnx');
    expect(stdout).toBe(
      `wrote ${out}, lenet: pixels float32 [N, 1, 28, 28], 0 to 255; logits [N, 10]\n`,
    );
    expect(code).toBe(0);
    expect(space.list('runs/x')).toEqual(['weights.onnx', 'weights.safetensors']);
    // The folder of the run says the same.
    const once = readFileSync(out);
    rmSync(out);
    await bangInsideOk(['export', space.file('runs/x'), '--to', 'onnx'], { cwd: space.folder });
    expect(readFileSync(out).equals(once)).toBe(true);
    const before = readFileSync(out);
    expectRefusal(
      await bangInside(['export', weights, '--to', 'onnx']),
      /onnx exists already; --force/,
    );
    space.write('runs/x/weights.onnx', 'other');
    await bangInside(['export', weights, '--to', 'onnx', '--force']);
    expect(readFileSync(out).equals(before)).toBe(true);
    const caffe = space.write('runs/y/lenet.caffemodel.h5', readFileSync(LENET));
    await bangInside(['export', caffe, '--to', 'safetensors']);
    expect(space.list('runs/y')).toEqual(['lenet.caffemodel.h5', 'lenet.safetensors']);
  });

  async function lenet(): Promise<Uint8Array> {
    return encodeSafetensors((await readWeights(LENET)).tensors, {});
  }

  it('refuses impossible exports in one sentence', async () => {
    const weights = space.write('w.safetensors', await lenet());
    const none = space.write('none.safetensors', encodeSafetensors(new Map(), {}));
    const evil = space.write(
      'evil.safetensors',
      encodeSafetensors(
        new Map(
          ['conv1.weight', 'conv2.weight', 'ip1.weight', 'a\n\u001b[31m'].map((name) => [
            name,
            { shape: [0], data: new Float32Array() },
          ]),
        ),
        {},
      ),
    );
    mkdirSync(space.file('folder'));
    space.write('run/weights.safetensors', await lenet());
    const to = (format: string, ...more: string[]) => ['export', weights, '--to', format, ...more];
    const onnx = ['--to', 'onnx', '--out', space.file('never.onnx')];
    const cases: [string[], RegExp][] = [
      [['export', weights], /--to is missing \(see bang export --help\)/],
      [['export', '--to', 'onnx'], /an argument is missing/],
      [to('torch'), /--to: expected onnx, safetensors or caffe-hdf5, found "torch"/],
      [to('onnx', '--to', 'onnx'), /--to is given more than once/],
      [
        to('onnx', '--model', 'vgg'),
        /--model vgg: expected lenet or cifar10-quick, or a YAML file/,
      ],
      [to('safetensors'), /w\.safetensors is the file to read: choose another/],
      [to('onnx', '--out', weights, '--force'), /is the file to read/],
      [
        ['export', space.file('run'), '--to', 'safetensors', '--force'],
        /weights\.safetensors is the file to read/,
      ],
      [to('onnx', '--out', space.file('folder')), /folder exists already/],
      [
        to('onnx', '--out', space.file('folder'), '--force'),
        /cannot write .*folder: it is a folder/,
      ],
      [to('onnx', '--out', `${weights}/x.onnx`), /cannot write .*: a part of the path is a file/],
      [to('onnx', '--out', '/dev/null/x'), /cannot write .*: a part of the path is a file/],
      [to('onnx', '--model', 'cifar10-quick', ...onnx.slice(2)), /network cifar10-quick/],
      [
        ['export', none, ...onnx],
        /none\.safetensors does not say which network it is of, .*: describe .* --model FILE\.yaml/,
      ],
      [['export', evil, ...onnx], /tensor "a\\n\\u001b\[31m" does not belong/],
      [['export', space.file('missing'), ...onnx], /there is no such file/],
      [
        ['export', space.file('folder'), ...onnx],
        /folder holds no weights\.safetensors: give a file of weights or the folder of a run/,
      ],
      [['export', CIFAR10, ...onnx, '--data-dir', space.file('folder')], /folder/],
    ];
    for (const [args, message] of cases) expectRefusal(await bangInside(args), message);
    expect(existsSync(space.file('never.onnx'))).toBe(false);
  });

  it('refuses a folder that it must not write', async () => {
    const weights = space.write('locked/w.safetensors', await lenet());
    chmodSync(space.folder, 0o755);
    chmodSync(space.file('locked'), 0o555);
    await asNobody(async () => {
      const refused = await bangInside(['export', weights, '--to', 'onnx']);
      expectRefusal(refused, /cannot write .*locked.*: permission denied/);
    });
    chmodSync(space.file('locked'), 0o755);
  });

  it('converts or refuses damaged files', async () => {
    const random = makeRandom(1, 'mutations');
    const below = (limit: number): number => Math.floor(limit * random.uniform());
    const sources = [
      { name: 'damaged.h5', sound: readFileSync(LENET), structure: 12_000 },
      { name: 'damaged', sound: await lenet(), structure: 600 },
    ];
    const ends: Finished[] = [];
    for (let i = 0; i < 30; i++) {
      const { name, sound, structure } = sources[i % 2];
      const bytes = Uint8Array.from(sound);
      for (let k = 1 + below(3); k > 0; k--) bytes[below(structure)] = 32 + below(95);
      const weights = space.write(name, i % 10 === 0 ? bytes.slice(0, below(bytes.length)) : bytes);
      const to = ['onnx', 'safetensors', 'caffe-hdf5'][i % 3];
      const out = space.file('maybe');
      const finished = await bangInside(['export', weights, '--to', to, '--out', out, '--force']);
      if (finished.code !== 0) expectRefusal(finished, /^bang: .*damaged/);
      ends.push(finished);
    }
    expect(ends.filter(({ code }) => code === 2).length).toBeGreaterThan(10);
  });
});
