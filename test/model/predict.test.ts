import { describe, expect, it } from 'vitest';
import { startEngine } from '#bang/engine/engine.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { evaluationBatch } from '#bang/model/predict.js';
import { ENGINE } from '../engine.js';

describe('images of one pass', () => {
  it('on a processor are few enough for the caches, whatever the network', async () => {
    await startEngine({ engine: ENGINE, threads: 2 });
    for (const spec of Object.values(NETWORKS)) {
      expect(evaluationBatch(makeNetwork(spec))).toBe(512);
    }
  });

  it('on a GPU are as many as its memory holds, within bounds', () => {
    const of = (width: number): number =>
      evaluationBatch(
        makeNetwork({
          ...NETWORKS.lenet,
          input: [28, 28, 1],
          layers: [
            { kind: 'conv', name: 'conv', filters: width, size: 5, filler: { kind: 'xavier' } },
            { kind: 'innerProduct', name: 'ip', outputs: 10, filler: { kind: 'xavier' } },
          ],
        }),
        true,
      );
    const widths = [1, 4, 16, 64, 256, 1024, 4096];
    const batches = widths.map(of);
    // All values of a pass, 576 for each filter, fit a gigabyte four times, unless that is below 512.
    batches.forEach((batch, i) => {
      expect(batch === 512 || 16 * batch * (784 + 576 * widths[i] + 10) <= 2 ** 30).toBe(true);
      expect(batch).toBeLessThanOrEqual(i === 0 ? 8192 : batches[i - 1]);
    });
    expect(batches[0]).toBe(8192);
    expect(batches.at(-1)).toBe(512);
  });
});
