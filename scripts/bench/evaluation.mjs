// An exhaustive FGS evaluation of LeNet on the MNIST test images: `lenet.evaluate.fgs`.
import { ATTACKS, attackImages } from '#bang/attacks/attacks.js';
import { consoleProgress } from '#bang/cli/consoleProgress.js';
import { firstImages } from '#bang/data/dataset.js';
import { loadData } from '#bang/data/load.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { importWeights } from '#bang/model/parameters.js';
import { predict } from '#bang/model/predict.js';
import { readWeights } from '#bang/model/files/weights.js';
import { entryOf, QUICK } from './timing.mjs';

/** LeNet, its weights, and the MNIST test images that it classifies correctly. */
export async function prepareEvaluation({ weights: file, quick }) {
  const network = makeNetwork(NETWORKS.lenet);
  const content = await readWeights(file);
  const weights = importWeights(network, content, file);
  const { test } = await loadData('mnist', { progress: consoleProgress() });
  const data = firstImages(test, quick ? QUICK.images : 'all');
  const { predicted } = await predict({ network, weights }, data);
  const all = Uint32Array.from(data.labels.keys());
  const positions = all.filter((i) => predicted[i] === data.labels[i]);
  return { network, weights, data, positions, format: content.format, file };
}

/** The search, once: it is long. */
export async function evaluate({ network, weights, data, positions }) {
  const protocol = { search: 'scan', channels: 'kept' };
  const begun = performance.now();
  const { linf } = await attackImages(ATTACKS.fgs, { network, weights }, data, positions, protocol);
  const ms = performance.now() - begun;
  const fooled = linf.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0);
  return [entryOf('lenet.evaluate.fgs', [ms], null, { images: positions.length, fooled })];
}
