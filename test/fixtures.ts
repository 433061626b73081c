import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Dataset } from '#bang/data/dataset.js';
import { packageRoot } from '#bang/base/files.js';
import { meanImageOf } from '#bang/model/mean.js';
import { makeNetwork, type Network, type Weights } from '#bang/model/network.js';
import { NETWORKS, type NetworkName } from '#bang/model/networks.js';
import { importWeights } from '#bang/model/parameters.js';
import { readWeights } from '#bang/model/files/weights.js';

export function fixture(name: string): string {
  return path.join(packageRoot, 'test', 'fixtures', name);
}

/** A network with weights from a file among the fixtures; `train` gives its mean image, if it has one. */
export async function networkWith(
  model: NetworkName,
  file: string,
  train?: Dataset,
): Promise<{ network: Network; weights: Weights }> {
  const bare = makeNetwork(NETWORKS[model]);
  const network = train && bare.spec.subtractMean ? { ...bare, mean: meanImageOf(train) } : bare;
  const weights = importWeights(network, await readWeights(fixture(file)), file);
  return { network, weights };
}

/** A CSV file without quotes, as one record of texts a line. */
export function readCsv(file: string): Record<string, string>[] {
  const [head, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  const names = head.trim().split(',');
  return lines.map((line) => {
    const values = line.trim().split(',');
    return Object.fromEntries(names.map((name, i) => [name, values[i]]));
  });
}
