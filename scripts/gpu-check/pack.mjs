// Packs into build/gpu-check, and two folders beside it, what scripts/gpu-check.sh needs on a Linux machine on x64 that
// has an NVIDIA driver, bash, tar and gzip, and neither a network nor Node: `node scripts/gpu-check/pack.mjs`, after
// `npm run build`. Fetches the package `webgpu`, and the data sets that are not in the cache. With the argument `main`
// or `cifar10`, only the first folder or the others.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
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
import { extractPackage } from '../../dist/base/npm.js';
import { loadData } from '../../dist/data/load.js';
import { meanImageOf } from '../../dist/model/mean.js';
import { startEngine } from '../../dist/engine/engine.js';
import { WEBGPU_PACKAGE } from '../../dist/setup/webgpu.js';
import { first, valuesOf } from './idx.mjs';
import { decodeImages, encodeImages } from './images.mjs';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const out = path.join(root, 'build', 'gpu-check');
/** Of each part. */
const LIMIT = 60 * 2 ** 20;
/** Images of CIFAR-10 in the first part; the others hold them all. */
const CIFAR10 = { train: 1000, test: 500 };
/** What the commands that are run there do not need. */
const LEFT_OUT =
  /^(vega|d3|topojson|@resvg|@techstark|bullmq|ioredis|msgpackr|pacote|@npmcli|npm|@sigstore|sigstore|@tufjs|tuf-js|h5wasm|onnx|cacache|@expo-google-fonts|node-addon-api|node-api-headers|node-gyp)/;

const only = process.argv[2];
if (only !== 'cifar10') bang('data', 'pull', 'mnist');
bang('data', 'pull', 'cifar10');
if (only !== 'cifar10') await main();
if (only !== 'main') cifar10();

/** Runs a command of the program, which tells of what it does and of its faults. */
function bang(...args) {
  const run = spawnSync(process.execPath, [path.join(root, 'bin', 'bang.js'), ...args], {
    stdio: 'inherit',
  });
  if (run.status !== 0) process.exit(run.status ?? 1);
}

/** The first part. */
async function main() {
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
    await cache(path.join(work, 'cache'));
    await references(path.join(work, 'cache', 'parts'));
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
    if (total > LIMIT) throw new Error('more than 60 MiB: take fewer images of CIFAR-10');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The built program, with the packages that it loads for training and evaluating. */
function program(to) {
  mkdirSync(to, { recursive: true });
  for (const part of ['bin', 'dist', 'native', 'configs', 'package.json']) {
    cpSync(path.join(root, part), path.join(to, part), {
      recursive: true,
      filter: (name) => !/\.(map|d\.ts)$/.test(name),
    });
  }
  const paper = path.join('results', 'paper-tables.json');
  cpSync(path.join(root, paper), path.join(to, paper));
  mkdirSync(path.join(to, 'build'));
  for (const addon of readdirSync(path.join(root, 'build')).filter((name) =>
    name.endsWith('.node'),
  )) {
    cpSync(path.join(root, 'build', addon), path.join(to, 'build', addon));
  }
  mkdirSync(path.join(to, 'scripts'));
  for (const part of ['gpu-check', path.join('bench', 'peers')]) {
    cpSync(path.join(root, 'scripts', part), path.join(to, 'scripts', part), { recursive: true });
  }
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
async function cache(to) {
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
  const fetched = path.join(to, 'fetched');
  await extractPackage(WEBGPU_PACKAGE, fetched);
  const inside = path.join(to, 'webgpu', 'node_modules', 'webgpu');
  for (const file of ['package.json', 'index.js', path.join('dist', 'linux-x64', 'dawn.node')]) {
    cpSync(path.join(fetched, file), path.join(inside, file), { recursive: true });
  }
  rmSync(fetched, { recursive: true });
}

/** The authors' weights, in a format that needs no package, and what others computed with them. */
async function references(to) {
  const fixtures = path.join(root, 'test', 'fixtures');
  for (const [network, weights, table] of [
    ['lenet', 'lenet.caffemodel.h5', 'authors-lenet-r0.per-image.csv'],
    ['cifar10-quick', 'cifar10_bang.caffemodel.h5', 'authors-cifar10-b0.per-image.csv'],
  ]) {
    const file = path.join(to, `${network}.safetensors`);
    bang('export', path.join(fixtures, weights), '--to', 'safetensors', '--out', file);
    cpSync(path.join(fixtures, table), path.join(to, table));
    const gradients = `bang-gradients-${network}.safetensors`;
    writeFileSync(
      path.join(to, gradients),
      withBangOnly(readFileSync(path.join(fixtures, gradients))),
    );
  }
  await startEngine({ engine: 'cpu' });
  const { train } = await loadData('cifar10');
  const mean = meanImageOf(train).dataSync();
  writeFileSync(path.join(to, 'cifar10-quick.mean'), new Uint8Array(mean.slice().buffer));
}

/** A safetensors file without the gradients of regular training, which `measure.mjs` does not look at. */
function withBangOnly(bytes) {
  const begin = 8 + Number(bytes.readBigUInt64LE());
  const tensors = {};
  const kept = [];
  let at = 0;
  for (const [name, value] of Object.entries(JSON.parse(bytes.subarray(8, begin)))) {
    if (name === '__metadata__' || name.startsWith('regular.')) continue;
    const [first, last] = value.data_offsets;
    kept.push(bytes.subarray(begin + first, begin + last));
    tensors[name] = { ...value, data_offsets: [at, (at += last - first)] };
  }
  // What follows the header begins at a multiple of 8 bytes.
  const text = JSON.stringify(tensors);
  const header = Buffer.from(text.padEnd(8 * Math.ceil(text.length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, ...kept]);
}

/** All of CIFAR-10, in two parts: the tests and some of the training images, and the others. */
function cifar10() {
  const from = path.join(cacheFolder(), 'data', 'cifar10');
  const read = (split, what, rank) =>
    valuesOf(readFileSync(path.join(from, `${split}-${what}-idx${rank}-ubyte`)));
  const parts = [{ test: [0, 10_000], train: [0, 20_000] }, { train: [20_000, 50_000] }];
  for (const [i, part] of parts.entries()) {
    const folder = path.join(root, 'build', `gpu-check-cifar10-${i + 1}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    let total = 0;
    for (const [split, [begin, end]] of Object.entries(part)) {
      const images = read(split, 'images', 4).subarray(3072 * begin, 3072 * end);
      const coded = encodeImages(images);
      if (!decodeImages(coded).equals(images)) throw new Error('images do not come back the same');
      writeFileSync(path.join(folder, `${split}.images`), coded);
      writeFileSync(
        path.join(folder, `${split}.labels`),
        read(split, 'labels', 1).subarray(begin, end),
      );
      total += coded.length + end - begin;
    }
    console.log(`${folder}: ${(total / 2 ** 20).toFixed(1)} MiB`);
    if (total > LIMIT) throw new Error('more than 60 MiB');
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
