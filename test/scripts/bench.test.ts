import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { packageRoot } from '#bang/base/files.js';
import { loadData } from '#bang/data/load.js';
import { NETWORKS } from '#bang/model/networks.js';
import { ENGINE } from '../engine.js';

interface Entry {
  job: string;
  ms: number;
  minMs: number;
  runs: number;
  gflops: number | null;
  batch: number;
  engine: string;
  threads: number;
  shareOfPeak?: number;
  ratioToRegular?: number;
  ratioToPeer?: number;
  gbytes?: number;
  peer?: Peer;
  peers?: Peer[];
  beside?: { engine: string; ms: number };
  ratioOfBeside?: number;
}

interface Peer {
  name: string;
  ms: number;
  mode: string;
}

const script = path.join(packageRoot, 'scripts', 'bench', 'main.mjs');

const jobs = Object.keys(NETWORKS).flatMap((name) =>
  ['step.regular', 'step.bang', 'forward.512'].map((job) => `${name}.${job}`),
);

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-bench-'));
  // In an empty cache, the benchmark would say what it fetches.
  for (const name of ['mnist', 'cifar10'] as const) await loadData(name);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

const QUICK = ['--quick', '--runs', '1'];

/** As `npm run bench` does. */
function bench(...args: string[]): Finished {
  return spawnSync(process.execPath, [script, ...QUICK, ...args], { encoding: 'utf8' });
}

/** The same in this process, without the second that a start takes. */
async function benchInside(...args: string[]): Promise<Finished> {
  const { run } = (await import(pathToFileURL(path.join(script, '..', 'run.mjs')).href)) as {
    run: (args: string[]) => Promise<number>;
  };
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    return { status: await run([...QUICK, ...args]), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

function entriesOf(file: string): Entry[] {
  return JSON.parse(readFileSync(file, 'utf8')) as Entry[];
}

/** A stand-in for a Python: a program that is called like one. */
function interpreter(name: string, body: string): string {
  const file = path.join(folder, name);
  writeFileSync(file, `#!${process.execPath}\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

describe('npm run bench', () => {
  it('times every network and writes what it prints', () => {
    const file = path.join(folder, 'out', 'bench.json');
    const { status, stdout, stderr } = bench('--threads', '1', '--json', file);
    expect(stderr.split('\n').filter((line) => !line.startsWith('measuring '))).toEqual(['']);
    expect(status).toBe(0);
    expect(readdirSync(path.dirname(file))).toEqual(['bench.json']);
    const entries = entriesOf(file);
    expect(entries.map(({ job }) => job)).toEqual(jobs);
    for (const entry of entries) {
      expect(stdout).toContain(entry.job);
      expect(entry).toMatchObject({ runs: 1, threads: 1, engine: ENGINE });
      expect(entry.minMs).toBeGreaterThan(0);
      expect(entry.ms).toBeGreaterThanOrEqual(entry.minMs);
      expect(entry.gflops).toBeGreaterThan(0);
      expect(entry.batch).toBeGreaterThan(0);
      expect(entry.shareOfPeak).toBeGreaterThan(0);
    }
    const [regular, bang] = entries;
    expect(bang.ratioToRegular).toBeCloseTo(bang.ms / regular.ms, 2);
    // LeNet by hand: 288000 + 1600000 + 400000 + 5000 multiply-adds forward, twice that and 288000
    // less backward, for 64 images.
    expect(regular.gflops! * regular.ms * 1e6).toBeCloseTo(2 * 64 * (3 * 2_293_000 - 288_000), -6);
  });

  describe('with kernels and beside another engine', () => {
    const file = (): string => path.join(folder, 'beside.json');
    let finished: Finished;
    beforeAll(async () => {
      finished = await benchInside('--kernels', '--beside', 'wasm', '--json', file());
    });

    it('times the kernels of every layer', () => {
      expect(finished).toMatchObject({ status: 0 });
      const kernels = entriesOf(file()).filter(({ job }) => job.startsWith('lenet.kernel.'));
      const ofWeighted = ['forward', 'inputGradient', 'weightGradient', 'norms', 'sgd'];
      expect(kernels.map(({ job }) => job.replace('lenet.kernel.', ''))).toEqual([
        ...ofWeighted.map((kernel) => `conv1.${kernel}`),
        ...ofWeighted.map((kernel) => `conv2.${kernel}`),
        ...ofWeighted.map((kernel) => `ip1.${kernel}`),
        ...ofWeighted.map((kernel) => `ip2.${kernel}`),
      ]);
      for (const { ms, gbytes } of kernels) {
        expect(ms).toBeGreaterThan(0);
        expect(gbytes).toBeGreaterThan(0);
      }
    });

    it('puts the other engine beside each job', () => {
      expect(finished.stdout).toContain('wasm /');
      const entries = entriesOf(file()).filter(({ job }) => !job.includes('.kernel.'));
      expect(entries.map(({ job }) => job)).toEqual(jobs);
      for (const { ms, beside, ratioOfBeside } of entries) {
        expect(beside?.engine).toBe('wasm');
        expect(ratioOfBeside).toBeCloseTo(beside!.ms / ms, 2);
      }
    });
  });

  it('compares what two runs have written', async () => {
    const entry = { job: 'lenet.step.bang', ms: 4, engine: 'native', threads: 2 };
    const files = [4, 3].map((ms, i) => {
      const file = path.join(folder, `compared-${i}.json`);
      writeFileSync(
        file,
        JSON.stringify([
          { ...entry, ms },
          { ...entry, job: `other-${i}` },
        ]),
      );
      return file;
    });
    const { status, stdout } = await benchInside('--compare', ...files);
    expect(status).toBe(0);
    expect(stdout).toMatch(/lenet\.step\.bang +│ +4\.00 │ +3\.00 │ +0\.750 │ native, 2 threads/);
    expect(stdout).not.toContain('other');
    const damaged = path.join(folder, 'damaged.json');
    writeFileSync(damaged, '{}');
    expect(await benchInside('--compare', files[0], damaged)).toMatchObject({
      status: 2,
      stderr: `bench: ${damaged} is not what --json writes\n`,
    });
    expect((await benchInside('--compare', files[0], 'none.json')).stderr).toMatch(
      /^bench: cannot read none.json: /,
    );
    expect((await benchInside('--compare', files[0])).stderr).toMatch(
      /^bench: --compare takes two files, not 1/,
    );
  });

  /** A Python that has PyTorch and OpenVINO, whose logits are ours times `factor`. */
  function pythonWith(name: string, factor: number): string {
    return interpreter(
      name,
      `import { readFileSync, statSync, writeFileSync } from 'node:fs';
      const option = (name) => process.argv[process.argv.indexOf(name) + 1];
      const line = (object) => console.log(JSON.stringify(object));
      if (process.argv.includes('--check')) {
        line({ peer: 'PyTorch', version: '9.9', jobs: ['step', 'forward'] });
        line({ peer: 'OpenVINO', version: '8.8', jobs: ['forward'] });
        line({ peer: 'ONNX Runtime', missing: "No module named 'onnxruntime'" });
      } else if (option('--peer') === 'PyTorch') {
        const times = { ms: 1000, minMs: 900, mode: 'nchw, eager', modes: {} };
        const job = { 'lenet.step': 'lenet.step.bang', 'lenet.forward': 'lenet.forward.512' };
        if (job[option('--job')]) line({ job: job[option('--job')], ...times });
      } else {
        const folder = option('--files') + '/';
        const shape = process.argv.slice(process.argv.indexOf('--shape') + 1).slice(0, 3);
        const bytes = shape.reduce((product, extent) => product * extent, 4 * 512);
        if (statSync(folder + 'pixels.f32').size !== bytes) throw new Error('pixels');
        if (!readFileSync(folder + 'model.onnx').includes('logits')) throw new Error('model');
        const logits = new Float32Array(Uint8Array.from(readFileSync(folder + 'logits.f32')).buffer);
        writeFileSync(folder + 'theirs.f32', logits.map((value) => ${factor} * value));
        line({ job: option('--job') + '.512', ms: 500, minMs: 400, mode: 'f32', modes: {} });
      }`,
    );
  }

  it('puts the fastest of its peers beside each job', async () => {
    const file = path.join(folder, 'peer.json');
    const { status, stdout } = await benchInside(
      '--peer',
      pythonWith('peer.mjs', 1.00005),
      '--json',
      file,
    );
    expect(status).toBe(0);
    expect(stdout).toContain('PyTorch 9.9, OpenVINO 8.8;');
    expect(stdout).toContain("missing ONNX Runtime (No module named 'onnxruntime')\n");
    expect(stdout).toMatch(/lenet\.forward\.512 .* 1000 │ +500\.00 │ OpenVINO +│/);
    const [regular, bang, forward, , , cifar] = entriesOf(file);
    expect(regular.peer).toBeUndefined();
    expect(bang.peer).toMatchObject({ name: 'PyTorch', ms: 1000, mode: 'nchw, eager' });
    expect(bang.ratioToPeer).toBeCloseTo(bang.ms / 1000, 3);
    expect(forward.peer).toMatchObject({ name: 'OpenVINO', ms: 500 });
    expect(forward.peers?.map(({ name }) => name)).toEqual(['OpenVINO', 'PyTorch']);
    expect(forward.ratioToPeer).toBeCloseTo(forward.ms / 500, 3);
    expect(cifar.peers).toHaveLength(1);
  });

  it('refuses the times of a peer whose logits are not ours', async () => {
    const { status, stderr } = await benchInside('--peer', pythonWith('wrong-peer.mjs', 1.001));
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /bench: OpenVINO failed at lenet\.forward: its logits are up to 0\.000\d+ from ours, /,
    );
  });

  it('fails where the peer does, and says so', async () => {
    const python = interpreter(
      'failing-peer',
      `if (process.argv.includes('--check')) {
        console.log('{"peer":"PyTorch","version":"9.9","jobs":["step"]}');
      } else { console.error('Traceback\\nRuntimeError: out of luck'); process.exitCode = 1; }`,
    );
    const { status, stderr } = await benchInside('--peer', python);
    expect(status).toBe(1);
    expect(stderr).toContain('bench: PyTorch failed at lenet.step: RuntimeError: out of luck\n');
  });

  it.each([
    [['--threads', '0'], '--threads must be a whole number from 1 to 256, not 0'],
    [['--threads', 'two'], '--threads must be a whole number from 1 to 256, not NaN'],
    [['--runs', '1.5'], '--runs must be a whole number from 1 to 1000000, not 1.5'],
    [['--json'], 'Not enough arguments following: json (see npm run bench -- --help)'],
    [['--fast'], 'Unknown argument: fast (see npm run bench -- --help)'],
    [['--json', tmpdir()], `cannot write ${tmpdir()}: it is a folder`],
    [['--evaluate', '--weights', 'none.h5'], 'cannot read none.h5: there is no such file'],
    [['--peer', './no-python'], '--peer ./no-python: there is no such program'],
  ])('refuses %j in one sentence', async (args, message) => {
    const { status, stdout, stderr } = await benchInside(...args);
    expect(stderr).toBe(`bench: ${message}\n`);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('says what a Python without any of them lacks', async (context) => {
    const peer = path.join(packageRoot, 'scripts', 'bench', 'peer.py');
    // Without its packages, whatever is installed here.
    const check = ['-S', '-B', peer, '--check'];
    const { error, stdout: lines } = spawnSync('python3', check, { encoding: 'utf8' });
    if (error) return context.skip();
    const python = interpreter('bare-python', `console.log(${JSON.stringify(lines.trim())})`);
    const { status, stderr } = await benchInside('--peer', python);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `bench: --peer ${python}: there is no PyTorch (No module named 'numpy'), OpenVINO (No module named 'openvino'), ONNX Runtime (No module named 'onnxruntime'); pip install torch openvino onnxruntime\n`,
    );
  });

  it('says how to install the peer on TensorFlow.js', () => {
    // As a process, whose exit code is that of a refusal.
    const { status, stderr } = bench('--tfjs-wasm', folder);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `bench: --tfjs-wasm ${folder}: there is no tfjs-backend-wasm (Cannot find module '@tensorflow/tfjs-core'); npm install --prefix ${folder} @tensorflow/tfjs-backend-wasm@4.22.0 @tensorflow/tfjs-core@4.22.0\n`,
    );
  });
});
