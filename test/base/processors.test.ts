import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processors } from '#bang/base/processors.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'bang-processors-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** A system of 12 cores with these files besides. */
function withFiles(files: Record<string, string>) {
  const all = { 'proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-7,10,12-14\n', ...files };
  for (const [name, content] of Object.entries(all)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), content);
  }
  return processors(root);
}

const V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n';
const V1 =
  '31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n' +
  '32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n';

describe('processors', () => {
  it('are all that the process may run on where there is no quota', () => {
    expect(withFiles({})).toEqual({ cores: 12, quota: undefined, usable: 12 });
  });

  it.each([
    ['150000 100000', 1.5, 2],
    ['200000 100000', 2, 2],
    ['1000 100000', 0.01, 1],
    ['6400000 100000', 64, 12],
    ['max 100000', undefined, 12],
    ['', undefined, 12],
    ['0 0', undefined, 12],
  ])('follow a quota of version 2: %s', (text, quota, usable) => {
    const found = withFiles({
      'proc/self/cgroup': '0::/job\n',
      'proc/self/mountinfo': V2,
      'sys/fs/cgroup/job/cpu.max': `${text}\n`,
    });
    expect(found).toEqual({ cores: 12, quota, usable });
  });

  it('follow the smallest quota of all groups that contain the process', () => {
    const found = withFiles({
      'proc/self/cgroup': '0::/slurm/job/step\n',
      'proc/self/mountinfo': V2,
      'sys/fs/cgroup/slurm/cpu.max': '800000 100000\n',
      'sys/fs/cgroup/slurm/job/cpu.max': '250000 100000\n',
      'sys/fs/cgroup/slurm/job/step/cpu.max': 'max 100000\n',
    });
    expect(found).toMatchObject({ quota: 2.5, usable: 3 });
  });

  it('follow a quota of version 1, beside a version 2 without controllers', () => {
    const found = withFiles({
      'proc/self/cgroup': '9:memory:/\n4:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n',
      'proc/self/mountinfo': `${V1}${V2.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}`,
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '350000\n',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000\n',
    });
    expect(found).toMatchObject({ quota: 3.5, usable: 4 });
  });

  it.each([
    ['names its group as the host does', '/docker/abc', '/'],
    ['mounts its group only', '/docker/abc', '/docker/abc'],
    ['sees a part of the hierarchy', '/docker/abc/child', '/docker/abc'],
    ['is outside of its namespace', '/../other', '/'],
  ])('follow the quota of a container that %s', (_, group, inside) => {
    const found = withFiles({
      'proc/self/cgroup': `0::${group}\n`,
      'proc/self/mountinfo': V2.replace(' / ', ` ${inside} `).replace('/sys/fs', '/sys\\040fs'),
      'sys fs/cgroup/cpu.max': '300000 100000\n',
    });
    expect(found).toMatchObject({ quota: 3, usable: 3 });
  });

  it.each(['', 'garbage', '0::', '1:cpu', ' - ', ': - cgroup2', 'a b c / x - cgroup x'])(
    'survive files that hold %j',
    (text) => {
      const files = { 'proc/self/cgroup': text, 'proc/self/mountinfo': text };
      expect(withFiles(files)).toMatchObject({ cores: 12, usable: 12 });
    },
  );
});
