import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { codeOf } from './errors.js';

/** A process, as others on this machine or elsewhere can recognise it. */
export interface ProcessId {
  pid: number;
  /** What numbers its processes: a boot of a machine and a PID namespace. Absent if this cannot be known. */
  space?: string;
  /** When it was started, in the system's own unit: another process may get its number. Absent if unknown. */
  started?: string;
}

export function thisProcess(): ProcessId {
  return { pid: process.pid, space: processSpace(), started: startOf(process.pid) };
}

/**
 * Whether a process runs: undefined if this cannot be known from here. Containers may share a host name and
 * number their processes alike, so both must see the same processes. Where nothing says when a process was
 * started, one with this number may be another.
 */
export function isRunning({ pid, space, started }: ProcessId): boolean | undefined {
  if (space === undefined || space !== processSpace()) return undefined;
  if (!isAlive(pid)) return false;
  const now = startOf(pid);
  return started === undefined || now === undefined ? undefined : started === now;
}

/** Names the processes that this one can see; undefined on a Linux without /proc. */
export function processSpace(): string | undefined {
  if (process.platform !== 'linux') return hostname();
  const boot = read('/proc/sys/kernel/random/boot_id');
  const namespace = link('/proc/self/ns/pid');
  return boot === undefined || namespace === undefined ? undefined : `${boot} ${namespace}`;
}

/** Field 22 of `/proc/PID/stat`, in clock ticks since boot. The name before it may contain anything. */
function startOf(pid: number): string | undefined {
  return read(`/proc/${pid}/stat`)?.replace(/^.*\)/s, '').trim().split(' ')[19];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function link(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
