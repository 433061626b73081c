import path from 'node:path';

/**
 * What a folder holds instead of a data set's original files, and what to do, as a sentence;
 * undefined if it is nothing known.
 */
export function foreignData(
  folder: string,
  names: ReadonlySet<string>,
  wanted: 'mnist' | 'cifar10',
): string | undefined {
  // The files of CIFAR-100 are just called train and test.
  const own = path.basename(path.resolve(folder));
  const all = /^cifar-100/i.test(own) ? [own, ...names] : [...names];
  const lower = all.map((name) => name.toLowerCase());
  const found = KINDS.find(
    ({ of, has }) => of.includes(wanted) && lower.some((name) => has.test(name)),
  );
  return found && `${folder} holds ${found.what}: ${found.remedy ?? REMEDY[wanted]}`;
}

const REMEDY = {
  mnist: "give MNIST's four IDX files, or leave the data folder out to have them fetched",
  cifar10:
    'give the six files of the binary version of CIFAR-10 (cifar-10-binary.tar.gz), or leave the data folder out to have them fetched',
};

/** The first that fits counts. */
const KINDS: {
  of: readonly ('mnist' | 'cifar10')[];
  has: RegExp;
  what: string;
  remedy?: string;
}[] = [
  {
    of: ['cifar10'],
    has: /^data_batch_\d$|^test_batch$|^cifar-10-batches-py$/,
    what: 'the Python version of CIFAR-10',
  },
  {
    of: ['cifar10'],
    has: /^data_batch_\d\.mat$|^cifar-10-batches-mat$/,
    what: 'the Matlab version of CIFAR-10',
  },
  {
    of: ['cifar10'],
    has: /^cifar-100|^(fine|coarse)_label_names\.txt$/,
    what: 'CIFAR-100, which has 100 classes',
    remedy: 'read it as data: cifar100',
  },
  {
    of: ['cifar10'],
    has: /^cifar-10-python\.tar/,
    what: 'an archive of the Python version of CIFAR-10',
  },
  {
    of: ['cifar10'],
    has: /^cifar-10-binary\.tar/,
    what: 'the archive cifar-10-binary.tar.gz',
    remedy: 'unpack it there',
  },
  { of: ['cifar10'], has: /^mnist$|^(train|t10k)-images[-.]idx3-ubyte/, what: 'MNIST' },
  {
    of: ['mnist'],
    has: /^emnist/,
    what: 'EMNIST, whose images are transposed',
    remedy: 'put one of its sets into a folder of its own and read it as data: idx',
  },
  {
    of: ['mnist'],
    has: /^(fashion|k|q)-?mnist$/,
    what: 'the folder of another data set',
    remedy: 'name that folder itself to use its files in place of those of MNIST',
  },
  { of: ['mnist'], has: /^mnist.*\.npz$/, what: "MNIST as NumPy arrays, which is Keras's version" },
  { of: ['mnist'], has: /^mnist.*\.(pkl|pkl\.gz)$/, what: 'MNIST as a Python pickle' },
  { of: ['mnist'], has: /^(mnist_)?(train|test)\.csv$/, what: 'MNIST as CSV' },
  { of: ['mnist'], has: /\.parquet$/, what: 'MNIST as Parquet' },
  { of: ['mnist'], has: /^(training|test)\.pt$/, what: 'MNIST as tensors of PyTorch' },
  { of: ['mnist'], has: /^(data|test)_batch|^cifar-10/, what: 'CIFAR-10' },
];
