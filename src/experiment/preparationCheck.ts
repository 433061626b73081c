import { omit } from '../base/omit.js';
import { type Dataset, firstImages } from '../data/dataset.js';
import { transposed } from '../data/describe.js';
import type { Progress } from '../base/progress.js';
import type { Model, Network } from '../model/network.js';
import type { NetworkSpec } from '../model/networks.js';
import type { WeightFile } from '../model/tensors.js';
import { predict } from '../model/predict.js';
import { chained, type Preparation, simplified } from '../model/preparation.js';

/** What a file prepares itself, if it is a graph. */
export function ownPreparation({ format, network }: WeightFile): WeightFile['network'] {
  return format === 'onnx' ? network : undefined;
}

/** Images on which weights from elsewhere are tried first. */
const IMAGES = 200;

interface Candidate extends Preparation {
  /** As a user writes it. */
  flags: string;
}

const plain = (scale: string, mean = '', std = ''): Candidate => {
  const numbers = (text: string) => (text === '' ? undefined : text.split(',').map(Number));
  const [above, below = '1'] = scale.split('/');
  const flag = (name: string, text: string) => (text === '' ? '' : ` --${name} ${text}`);
  return {
    scale: Number(above) / Number(below),
    mean: numbers(mean),
    std: numbers(std),
    flags: `--scale ${scale}${flag('mean', mean)}${flag('std', std)}`,
  };
};

/** How pixels are usually prepared: for all images, and with the published means of grey and of colour images. */
const USUAL = [plain('1'), plain('1/255'), plain('1/255', '0.5', '0.5'), plain('1', '128', '128')];
const GREY = [plain('1/255', '0.1307', '0.3081'), plain('1/255', '0.2860', '0.3530')];
const COLOUR = [
  plain('1/255', '0.4914,0.4822,0.4465', '0.2470,0.2435,0.2616'),
  plain('1/255', '0.4914,0.4822,0.4465', '0.2023,0.1994,0.2010'),
  plain('1/255', '0.5071,0.4867,0.4408', '0.2675,0.2565,0.2761'),
  plain('1/255', '0.485,0.456,0.406', '0.229,0.224,0.225'),
];

/**
 * Warns if weights from elsewhere classify the first images about as well as chance, not as well as is known of them, or
 * far better with a usual preparation or transposed images: then their pixels are probably prepared in another way. Names
 * the way with which they do better.
 *
 * @param options.accuracy percent, as known from elsewhere
 * @param options.own what the file prepares itself, before which a candidate comes; undefined: it is replaced
 */
export async function noticeWrongPreparation(
  { network, weights }: Model,
  test: Dataset,
  {
    accuracy,
    own,
    progress,
    signal,
  }: {
    accuracy?: number;
    own?: NetworkSpec | Omit<NetworkSpec, 'name'>;
    progress: Progress;
    signal?: AbortSignal;
  },
): Promise<void> {
  const images = firstImages(test, IMAGES);
  const share = async (candidate: Network, on = images): Promise<number> => {
    const { correct } = await predict({ network: candidate, weights }, on, { signal });
    return correct / on.count;
  };
  const now = await share(network);
  const chance = 1 / network.spec.classes;
  // Three standard deviations of as many guesses, and of as many images.
  const nearChance = chance + Math.max(0.05, 3 * Math.sqrt((chance * (1 - chance)) / images.count));
  // Of so few images, chance may classify all.
  if (nearChance >= 1) return;
  const known = accuracy === undefined ? undefined : accuracy / 100;
  const isFar =
    known !== undefined &&
    Math.abs(now - known) > Math.max(0.05, 4 * Math.sqrt((known * (1 - known)) / images.count));
  const channels = test.channels;
  let best = { share: now, hint: '' };
  const tryOne = async (candidate: Network, on: Dataset, hint: string): Promise<void> => {
    const found = await share(candidate, on);
    if (found > best.share + 0.1) best = { share: found, hint };
  };
  // What a YAML file says holds unless a flag says otherwise.
  const unset = (key: 'mean' | 'std', none: string, values?: number[]): string =>
    !own && network.spec[key] && !values ? ` --${key} ${none}` : '';
  if (!network.spec.subtractMean) {
    for (const { flags, ...usual } of [...USUAL, ...(channels === 1 ? GREY : COLOUR)]) {
      const wide = (values?: number[]) =>
        values && Array.from({ length: channels }, (_, c) => values[c] ?? values[0]);
      const first = simplified({ ...usual, mean: wide(usual.mean), std: wide(usual.std) });
      const preparation = own ? chained(first, own, channels) : first;
      await tryOne(
        { ...network, spec: { ...omit(network.spec, 'mean', 'std'), ...preparation } },
        images,
        `with ${flags}${unset('mean', '0', usual.mean)}${unset('std', '1', usual.std)}`,
      );
    }
  }
  if (test.height === test.width) {
    await tryOne(
      network,
      transposed(images),
      'with transposed images (transpose: true in data.yaml)',
    );
  }
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  if (now > nearChance && !isFar && best.hint === '') return;
  const why =
    now <= nearChance
      ? `near chance, ${percent(chance)}`
      : isFar
        ? `far ${now < known ? 'below' : 'above'} the ${percent(known)} that are known of it`
        : 'and might be more';
  const remedy =
    best.hint === ''
      ? 'check --scale, --mean and --std, the order of the classes, and whether the images are transposed'
      : `${best.hint} it is ${percent(best.share)}`;
  progress.note(
    `warning: accuracy is ${percent(now)} on the first ${images.count} test images, ${why}: perhaps pixels were prepared in another way; ${remedy}`,
  );
}
