import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** How much of the machine's processors this process may use. */
export interface Processors {
  /** Those that it may run on. */
  cores: number;
  /** How many of them its control group may keep busy, such as 1.5; undefined if there is no quota. */
  quota?: number;
  /** How many threads can compute at once: the quota, rounded up, or all cores. */
  usable: number;
}

/** @param root where the system's files are, for tests */
export function processors(root = '/'): Processors {
  const cores = allowedCores(root) ?? os.availableParallelism();
  const quota = cpuQuota(root);
  return { cores, quota, usable: Math.max(1, Math.min(cores, Math.ceil(quota ?? Infinity))) };
}

/** Node's own number follows the quota, too, in some versions, and rounds it down. */
function allowedCores(root: string): number | undefined {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(read(root, 'proc/self/status') ?? '')?.[1];
  const ranges = list?.split(',').map((range) => range.split('-').map(Number));
  return ranges?.reduce((sum, range) => sum + range.at(-1)! - range[0] + 1, 0);
}

/**
 * The smallest CPU quota of this process's control group and of those that contain it, in processors.
 * Undefined if there is none.
 */
function cpuQuota(root: string): number | undefined {
  const quotas = hierarchies(root).flatMap(({ folder, group, version }) => {
    const found: number[] = [];
    // A container's own group may be mounted in the place of a root that it cannot see.
    for (let place = group; ; place = path.posix.dirname(place)) {
      const quota = quotaIn(root, path.posix.join(folder, place), version);
      if (quota !== undefined) found.push(quota);
      if (place === '/') return found;
    }
  });
  return quotas.length === 0 ? undefined : Math.min(...quotas);
}

interface Hierarchy {
  /** Where it is mounted. */
  folder: string;
  /** The group of this process, below that. */
  group: string;
  version: 1 | 2;
}

/** The mounted hierarchies of control groups that can have a CPU quota. */
function hierarchies(root: string): Hierarchy[] {
  // Lines such as `4:cpu,cpuacct:/a/b` and, of version 2, `0::/a/b`.
  const groups = (read(root, 'proc/self/cgroup') ?? '')
    .split('\n')
    .flatMap((line): Pick<Hierarchy, 'group' | 'version'>[] => {
      const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
      if (!match) return [];
      const [, controllers, group] = match;
      if (controllers === '') return [{ version: 2, group }];
      return controllers.split(',').includes('cpu') ? [{ version: 1, group }] : [];
    });
  return (read(root, 'proc/self/mountinfo') ?? '').split('\n').flatMap((line): Hierarchy[] => {
    const [left, right = ''] = line.split(' - ');
    const fields = left.split(' ').map(unescaped);
    if (fields.length < 5) return [];
    const [, , , inside, folder] = fields;
    const [type, , options = ''] = right.split(' ');
    const version = type === 'cgroup2' ? 2 : type === 'cgroup' ? 1 : undefined;
    if (version === 1 && !options.split(',').includes('cpu')) return [];
    const own = groups.find((one) => one.version === version);
    if (version === undefined || !own) return [];
    const above = inside === '/' ? '' : inside;
    const within = `${own.group}/`.startsWith(`${above}/`);
    const group = within ? own.group.slice(above.length) : own.group;
    return [{ folder, group: path.posix.normalize(`/${group}`), version }];
  });
}

function quotaIn(root: string, folder: string, version: 1 | 2): number | undefined {
  const [quota, period] =
    version === 2
      ? (read(root, `${folder}/cpu.max`) ?? '').trim().split(' ').map(Number)
      : ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) =>
          Number(read(root, `${folder}/${name}`) ?? NaN),
        );
  return quota > 0 && period > 0 ? quota / period : undefined;
}

/** Spaces in the names of folders are written as `\040`. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

function read(root: string, file: string): string | undefined {
  try {
    return readFileSync(path.join(root, file), 'utf8');
  } catch {
    return undefined;
  }
}
