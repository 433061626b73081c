// What scripts that compile into a temporary folder have in common.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Works in a temporary folder; what goes wrong is told in a line, and is the exit code 1. */
export async function inScratch(name, work) {
  const folder = mkdtempSync(path.join(tmpdir(), 'bang-'));
  try {
    await work(folder);
  } catch (error) {
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
