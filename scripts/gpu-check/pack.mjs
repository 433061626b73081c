// Packs into build/gpu-check what scripts/gpu-check.sh needs on a Linux machine on x64 that has an NVIDIA driver, bash,
// tar and gzip, and neither a network nor Node: `node scripts/gpu-check/pack.mjs`, after `npm run build` and with the
// data sets and the package `webgpu` in the cache (`bang data pull`, `bang setup webgpu`).
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { cacheFolder } from '../../dist/base/cacheFolder.js';
import { first } from './idx.mjs';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const out = path.join(root, 'build', 'gpu-check');
/** All that can be sent along with a working tree. */
const LIMIT = 64 * 2 ** 20;
/** Images of CIFAR-10, which do not all fit. */
const CIFAR10 = { train: 2500, test: 500 };
/** What the commands that are run there do not need. */
const LEFT_OUT =
  /^(vega|d3|topojson|@resvg|@techstark|bullmq|ioredis|msgpackr|pacote|@npmcli|npm|@sigstore|sigstore|@tufjs|tuf-js|h5wasm|onnx|cacache|@expo-google-fonts|node-addon-api|node-api-headers|node-gyp)/;

const work = mkdtempSync(path.join(tmpdir(), 'gpu-check-'));
try {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const node = path.join(work, 'node');
  cpSync(process.execPath, node, { dereference: true });
  execFileSync('strip', [node]);
  writeFileSync(path.join(out, 'node.gz'), zlib.gzipSync(readFileSync(node), { level: 9 }));
  rmSync(node);
  program(path.join(work, 'bang'));
  cache(path.join(work, 'cache'));
  loader(path.join(work, 'lib'));
  const tar = execFileSync('tar', ['-c', '-C', work, '.'], { maxBuffer: 2 ** 31 });
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN } = zlib.constants;
  const params = { [BROTLI_PARAM_QUALITY]: 9, [BROTLI_PARAM_LGWIN]: 24 };
  writeFileSync(path.join(out, 'rest.tar.br'), zlib.brotliCompressSync(tar, { params }));
  const sizes = ['node.gz', 'rest.tar.br'].map((name) => statSync(path.join(out, name)).size);
  const total = sizes[0] + sizes[1];
  console.log(
    `${out}: ${(total / 2 ** 20).toFixed(1)} MiB (node ${(sizes[0] / 2 ** 20).toFixed(1)})`,
  );
  if (total > LIMIT) throw new Error('more than 64 MiB: take fewer images of CIFAR-10');
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The built program, with the packages that it loads for training and evaluating. */
function program(to) {
  mkdirSync(to, { recursive: true });
  for (const part of ['bin', 'dist', 'native', 'configs', 'results', 'package.json']) {
    cpSync(path.join(root, part), path.join(to, part), {
      recursive: true,
      filter: (name) => !/\.(map|d\.ts)$/.test(name),
    });
  }
  mkdirSync(path.join(to, 'scripts'));
  cpSync(path.join(root, 'scripts', 'gpu-check'), path.join(to, 'scripts', 'gpu-check'), {
    recursive: true,
  });
  const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  for (const [where, { dev, optional }] of Object.entries(lock.packages)) {
    const name = where.replace(/^node_modules\//, '');
    if (where === '' || dev || optional || LEFT_OUT.test(name)) continue;
    if (name.includes('node_modules') && LEFT_OUT.test(name.split('/node_modules/')[0])) continue;
    if (!existsSync(path.join(root, where))) continue;
    cpSync(path.join(root, where), path.join(to, where), {
      recursive: true,
      // TensorFlow.js brings itself in many forms.
      filter: (file) =>
        !/\.(map|d\.ts|md|min\.js|es2017\.js|fesm\.js|fesm2017\.js)$|_test\.js$|\/tf-[^/]*\.(es|fesm)[^/]*$/.test(
          file,
        ),
    });
  }
}

/** The cache with the data sets and the package `webgpu` for this system. */
function cache(to) {
  const from = cacheFolder();
  for (const name of ['mnist', 'cifar10']) {
    const files =
      name === 'mnist' ? { train: 'train', test: 't10k' } : { train: 'train', test: 'test' };
    mkdirSync(path.join(to, 'parts', name), { recursive: true });
    for (const [part, prefix] of Object.entries(files)) {
      const dimensions = name === 'mnist' ? 3 : 4;
      for (const [what, rank] of [
        ['images', dimensions],
        ['labels', 1],
      ]) {
        const file = `${prefix}-${what}-idx${rank}-ubyte`;
        const whole = readFileSync(path.join(from, 'data', name, file));
        const kept = name === 'mnist' ? whole : first(whole, rank, CIFAR10[part]);
        writeFileSync(path.join(to, 'parts', name, file), kept);
      }
    }
  }
  const inside = path.join('webgpu', 'node_modules', 'webgpu');
  for (const file of ['package.json', 'index.js', path.join('dist', 'linux-x64', 'dawn.node')]) {
    cpSync(path.join(from, inside, file), path.join(to, inside, file), { recursive: true });
  }
}

/** The Vulkan loader, where the machine has none. */
function loader(to) {
  mkdirSync(to);
  const places = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/chromium', '/usr/lib64'];
  const found = places.map((place) => path.join(place, 'libvulkan.so.1')).find(existsSync);
  if (found === undefined)
    throw new Error('no libvulkan.so.1 was found here: apt-get install libvulkan1');
  cpSync(found, path.join(to, 'libvulkan.so.1'), { dereference: true });
  symlinkSync('libvulkan.so.1', path.join(to, 'libvulkan.so'));
}
