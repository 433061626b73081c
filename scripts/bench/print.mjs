// What is printed.
import os from 'node:os';
import Table from 'cli-table3';

const FOOTNOTE = `GFLOP/s count 2 x the multiply-adds of a dense implementation: forward, the gradient with respect to all weights,
and the gradient with respect to the input of all layers but the first. Peak is multiply-adds in registers alone.
The kernels skip zeros and borders: they execute fewer than that, so a share of the peak is not a utilization and may pass 100 %.
Steps are of the rows lenet-b1 and cifar10-b0, 500 iterations into their training.`;

/** Before anything is measured: on what. */
export function printMachine(engine, peers, missing) {
  print(`engine  ${engine.description}`);
  print(`cpu     ${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${os.availableParallelism()} cores`);
  if (peers.length > 0) {
    const list = peers.map(({ name, version }) => `${name} ${version}`).join(', ');
    print(`peers   ${list}; each on as many threads, if it can`);
  }
  if (missing.length > 0) print(`missing ${missing.join(', ')}`);
}

/** @param peak operations a second; 0 if unknown */
export function printResults({ entries, kernels, peak, peers, beside }) {
  if (peak) print(`peak    ${(peak / 1e9).toFixed(1)} GFLOP/s`);
  print(`\n${jobTable(entries, peers, beside)}`);
  for (const { job, ratioToRegular } of entries) {
    if (ratioToRegular) print(`${job}: ${ratioToRegular.toFixed(3)} x the regular step`);
  }
  for (const { job, images, fooled, peer: theirs } of entries) {
    if (fooled === undefined) continue;
    const there = theirs ? `, ${theirs.fooled} of ${theirs.images} in ${theirs.name}` : '';
    print(`${job}: ${fooled} of ${images} images fooled${there}`);
  }
  if (kernels.length > 0) print(`\n${kernelTable(kernels)}`);
  print(`\n${FOOTNOTE}`);
}

/** @param rows a job in each, with its entry before and after */
export function printComparison(rows) {
  const head = ['job', 'before\nms', 'after\nms', 'after /\nbefore', 'before on', 'after on'];
  const on = ({ engine, threads }) => `${engine}, ${threads} thread${threads === 1 ? '' : 's'}`;
  const cells = rows.map(({ job, before, after, ratio }) => [
    job,
    time(before.ms),
    time(after.ms),
    ratio.toFixed(3),
    on(before),
    on(after),
  ]);
  print(tableOf(head, cells, [0, 4, 5]));
}

function jobTable(entries, peers, beside) {
  const head = ['job', 'median\nms', 'least\nms', 'runs', 'GFLOP/s', 'of peak\n%'];
  if (beside) head.push(`${beside}\nms`, `${beside} /\nours`);
  if (peers.length > 0) {
    head.push(...peers.map(({ name }) => `${name.replaceAll(' ', '\n')}\nms`));
    head.push('fastest peer', 'ours /\nfastest');
  }
  const rows = entries.map((entry) => {
    const row = figures(entry);
    if (beside) row.push(time(entry.beside.ms), entry.ratioOfBeside.toFixed(2));
    if (peers.length === 0) return row;
    const { peer, peers: theirs = [], ratioToPeer } = entry;
    for (const { name } of peers) {
      const found = theirs.find((one) => one.name === name);
      row.push(found ? time(found.ms) : '–');
    }
    if (!peer) return [...row, '–', '–'];
    return [...row, `${peer.name}\n${peer.mode}`, ratioToPeer.toFixed(3)];
  });
  return tableOf(head, rows, [0, head.indexOf('fastest peer')]);
}

function kernelTable(kernels) {
  const head = ['kernel', 'median\nms', 'least\nms', 'runs', 'GFLOP/s', 'of peak\n%', 'GB/s'];
  const rows = kernels.map((entry) => {
    const job = entry.job.replace('.kernel.', ' ');
    return [...figures({ ...entry, job }), entry.gbytes.toFixed(1)];
  });
  return tableOf(head, rows, [0]);
}

function figures({ job, ms, minMs, runs, gflops, shareOfPeak }) {
  const share = shareOfPeak === undefined ? '–' : (100 * shareOfPeak).toFixed(0);
  return [job, time(ms), time(minMs), runs, gflops === null ? '–' : gflops.toFixed(1), share];
}

function time(ms) {
  return ms.toFixed(ms < 1 ? 4 : ms < 1000 ? 2 : 0);
}

/** @param texts columns that are not numbers */
function tableOf(head, rows, texts) {
  const table = new Table({
    head,
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (texts.includes(i) ? 'left' : 'right')),
  });
  table.push(...rows);
  return table.toString();
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
