import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PACKAGES } from '#bang/setup/tensorflow.js';
import { WEBGPU_PACKAGE } from '#bang/setup/webgpu.js';
import { packageRoot } from '#bang/base/files.js';
import {
  bang,
  bangInside,
  expectRefusal,
  workspace,
  type Finished,
  type Workspace,
} from './bang.js';

// Without a network and in a second: what stands in for Python and pip here is a shell script. The
// real ones are tested by CI, which runs `bang setup tensorflow` and then `npm run test:tensorflow`.

let space: Workspace;

beforeEach(() => {
  space = workspace();
  mkdirSync(space.file('bin'));
  for (const name of ['sh', 'cat', 'mkdir', 'chmod', 'sleep', 'env', 'kill']) {
    const real = ['/bin', '/usr/bin'].map((folder) => path.join(folder, name)).find(existsSync);
    if (real !== undefined) symlinkSync(real, space.file('bin', name));
  }
  vi.stubEnv('BANG_CACHE', space.file('cache'));
  vi.stubEnv('PATH', space.file('bin'));
  vi.stubEnv('PYTHON', '');
  vi.stubEnv('CXX', script(space.file('compilers', 'c++'), 'exit 0'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  space.remove();
});

function script(file: string, body: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

/** A Python of a version; `pip` is what its virtual environment's Python does when asked for pip. */
function python(version: string, { venv = true, name = 'python3', pip = 'exit 0' } = {}): void {
  script(
    space.file('bin', name),
    `case "$*" in
  *" -c "*) echo '["${version}", ${venv}]' ;;
  *"-m venv "*)
    for folder; do :; done
    mkdir -p "$folder/bin"
    cat > "$folder/bin/python" <<'END'
#!/bin/sh
${pip}
END
    chmod +x "$folder/bin/python" ;;
esac`,
  );
}

const setup = (...more: string[]): Promise<Finished> =>
  bangInside(['setup', 'tensorflow', ...more]);

/** Nothing may lie in the cache after a failure. */
function expectNothingLeft(): void {
  expect(existsSync(space.file('cache')) ? readdirSync(space.file('cache')) : []).toEqual([]);
}

describe('bang setup tensorflow says in a sentence', () => {
  it('that there is no Python', async () => {
    expectRefusal(
      await setup(),
      /^bang: there is no Python: install Python 3\.10 to 3\.13 with venv/,
    );
    expectNothingLeft();
  });

  it('that PYTHON names none', async () => {
    vi.stubEnv('PYTHON', '/nowhere/python');
    expectRefusal(
      await setup(),
      /^bang: PYTHON is set to \/nowhere\/python, which is not a Python/,
    );
  });

  it.each(['3.9.2', '3.14.0', '2.7.18'])(
    'that there is no wheel for Python %s',
    async (version) => {
      python(version);
      expectRefusal(
        await setup(),
        new RegExp(
          `^bang: python3 is ${version}, for which there is no TensorFlow 2\\.21\\.0; install`,
        ),
      );
    },
  );

  it('that Python lacks venv', async () => {
    python('3.11.2', { venv: false });
    expectRefusal(await setup(), /^bang: python3 has no venv and pip .*apt install python3-venv/);
  });

  it('that there is no compiler', async () => {
    vi.stubEnv('CXX', '');
    expectRefusal(await setup(), /^bang: there is no C\+\+ compiler: install g\+\+ or clang\+\+/);
    vi.stubEnv('CXX', '/nowhere/c++');
    expectRefusal(
      await setup(),
      /^bang: CXX is set to \/nowhere\/c\+\+, which is not a C\+\+ compiler/,
    );
  });

  it('that there is no driver of a GPU', async () => {
    const driver = ['/proc/driver/nvidia/version', '/dev/dxg'].some(existsSync);
    const message = driver ? /there is no Python/ : /there is no driver for an NVIDIA GPU: install/;
    expectRefusal(await setup('--gpu'), message);
  });

  it.each([
    [
      'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device',
      /^bang: cannot install tensorflow-cpu 2\.21\.0: the disk is full; make room/,
    ],
    [
      "WARNING: Retrying after connection broken by 'NewConnectionError(...): [Errno -2] Name or service not known'\\nERROR: No matching distribution found for tensorflow-cpu==2.21.0",
      /^bang: cannot install tensorflow-cpu 2\.21\.0: the package index cannot be reached; check/,
    ],
    [
      'ERROR: No matching distribution found for tensorflow-cpu==2.21.0',
      /^bang: cannot install tensorflow-cpu 2\.21\.0: pip's package index has no wheel of it/,
    ],
    [
      'ERROR: something else\\nmore of it',
      /^bang: cannot install tensorflow-cpu 2\.21\.0: pip failed \(something else\)/,
    ],
  ])('what pip meant by %s', async (said, message) => {
    python('3.12.1', {
      name: 'python3.12',
      pip: `printf '${said.replaceAll("'", "'\\''")}\\n' >&2; exit 1`,
    });
    const { stderr, ...finished } = await setup();
    expectRefusal({ ...finished, stderr: stderr.replace(/^fetch .*\n/gm, '') }, message);
    expectNothingLeft();
  });

  it('that another cannot be made', async () => {
    const message =
      /engine: expected webgpu or tensorflow, found "tensorflo", did you mean tensorflow\? \(see bang setup --help\)/;
    expectRefusal(await bangInside(['setup', 'tensorflo']), message);
  });
});

it('Ctrl-C ends pip and leaves nothing', async () => {
  const begun = space.file('begun');
  python('3.11.2', { pip: `echo $$ > ${begun}; exec sleep 900` });
  const { code, stderr } = await bang(['setup', 'tensorflow'], {
    cwd: space.folder,
    when: () => existsSync(begun),
  });
  expect(code).toBe(130);
  expect(stderr).toMatch(/^stopping \(once more .*\nbang: setting up tensorflow was stopped\n$/m);
  expectNothingLeft();
});

describe('the tensorflow engine', () => {
  const record = { version: '2.21.0', gpu: false, platform: `${process.platform} ${process.arch}` };
  // In a process of its own: this one may have loaded the machine's TensorFlow for another test.
  const doctor = (...more: string[]): Promise<Finished> =>
    bang(['doctor', ...more], { cwd: space.folder });
  const computing = (): Promise<Finished> => doctor('--engine', 'tensorflow');

  it.each([
    ['is not set up', undefined, /^bang: the tensorflow engine cannot be used: it is not set up;/],
    ['has a damaged record', '{', /cannot be used: \S+setup\.json is damaged; set it up with/],
    [
      'is of another version',
      JSON.stringify({ ...record, version: '2.15.1' }),
      /cannot be used: TensorFlow 2\.15\.1 is set up, not 2\.21\.0;/,
    ],
    [
      'is of another platform',
      JSON.stringify({ ...record, platform: 'plan9 mips' }),
      /cannot be used: it is set up for plan9 mips, not/,
    ],
    [
      'has lost its files',
      JSON.stringify(record),
      /^bang: the tensorflow engine cannot be loaded \(.*\); make it again with: bang setup tensorflow/s,
    ],
  ])('says so where it %s', async (_, content, message) => {
    if (content !== undefined) space.write('cache/tensorflow/setup.json', content);
    expectRefusal(await computing(), message);
  });

  it('is removed as a whole, once', async () => {
    space.write('cache/tensorflow/setup.json', JSON.stringify(record));
    const first = await setup('--uninstall');
    expect(first.stdout).toBe('tensorflow is removed\n');
    expectNothingLeft();
    const second = await setup('--uninstall');
    expect(second.stdout).toBe('tensorflow is not set up\n');
  });

  it('made again where it does not compute', async () => {
    space.write('cache/tensorflow/setup.json', JSON.stringify(record));
    python('3.11.2', { pip: 'echo ERROR: no; exit 1' });
    const { code, stderr } = await setup();
    expect(stderr).toMatch(
      /^tfjs-node-gpu does not run on this machine \(.*\); setting it up again$/m,
    );
    expect(stderr).toMatch(/pip failed \(no\)/);
    expect(code).toBe(2);
    // A failure takes nothing away.
    expect(space.list('cache/tensorflow')).toEqual(['setup.json']);
  });

  it('is of the version that package.json names', () => {
    const text = readFileSync(path.join(packageRoot, 'package.json'), 'utf8');
    const { peerDependencies } = JSON.parse(text) as { peerDependencies: Record<string, string> };
    const named = [PACKAGES.tfjs, WEBGPU_PACKAGE].map(({ name, version }) => [name, version]);
    expect(peerDependencies).toEqual(Object.fromEntries(named));
  });

  it('is not chosen by itself without a GPU', async () => {
    space.write('cache/tensorflow/setup.json', JSON.stringify(record));
    const { stdout } = await doctor();
    expect(stdout).toMatch(/^engine +native kernels/m);
    expect(stdout).toMatch(/^tensorflow +the tensorflow engine cannot be loaded/m);
  });
});

describe('the webgpu engine', () => {
  const computing = (): Promise<Finished> => bangInside(['doctor', '--engine', 'webgpu']);
  const record = { version: WEBGPU_PACKAGE.version, gpu: 'a GPU', software: false, faster: 9 };

  it.each([
    [
      'is not set up',
      undefined,
      /^bang: the webgpu engine cannot be used: it is not set up; set it up with: bang setup webgpu$/m,
    ],
    [
      'is damaged',
      '{',
      /cannot be used: .*setup\.json is damaged; set it up with: bang setup webgpu$/m,
    ],
    [
      'is another version',
      '{"version":"0.1.0"}',
      /webgpu 0\.1\.0 is set up, not 0\.6\.2; set it up/,
    ],
    [
      'has lost its package',
      JSON.stringify(record),
      /^bang: the webgpu engine cannot be used: Cannot find /m,
    ],
  ])('%s: one sentence', async (_, content, message) => {
    if (content !== undefined) space.write('cache/webgpu/setup.json', content);
    expectRefusal(await computing(), message);
  });

  it('is replaced by the CPU, with a warning, where it is chosen by itself and cannot be used', async () => {
    space.write('cache/webgpu/setup.json', JSON.stringify(record));
    const { stdout } = await bangInside(['doctor']);
    expect(stdout).toMatch(/^engine +(native|WebAssembly) kernels/m);
    expect(stdout).toMatch(/^advice +the webgpu engine cannot be used: /m);
  });

  it('is not chosen by itself on a driver that computes on the CPU, nor where it was slower', async () => {
    for (const other of [{ software: true }, { faster: 0.5 }]) {
      space.write('cache/webgpu/setup.json', JSON.stringify({ ...record, ...other }));
      const { stdout } = await bangInside(['doctor']);
      expect(stdout).not.toMatch(/^advice +the webgpu/m);
    }
  });

  it('is removed', async () => {
    space.write('cache/webgpu/setup.json', JSON.stringify(record));
    const remove = () => bangInside(['setup', 'webgpu', '--uninstall']);
    expect((await remove()).stdout).toBe('webgpu is removed\n');
    expect((await remove()).stdout).toBe('webgpu is not set up\n');
  });
});
