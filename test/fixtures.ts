import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/files.js';
import { makeNetwork, type Network, type Weights } from '#bang/model/network.js';
import { NETWORKS, type NetworkName } from '#bang/model/networks.js';
import { importWeights } from '#bang/model/parameters.js';
import { readWeights } from '#bang/model/weights.js';

export function fixture(name: string): string {
  return path.join(packageRoot, 'test', 'fixtures', name);
}

/** A network with weights from a file among the fixtures. */
export async function networkWith(
  model: NetworkName,
  file: string,
): Promise<{ network: Network; weights: Weights }> {
  const network = makeNetwork(NETWORKS[model]);
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
