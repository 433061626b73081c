import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';

/** Each command that `scripts/fuzz/kills.mjs` disturbs, once; other moments for another seed. */
it.each(['kill', 'full'])(
  '%s: every command, disturbed and repeated, leaves what it leaves undisturbed',
  (target) => {
    const script = path.join(packageRoot, 'scripts', 'fuzz', 'main.mjs');
    const args = [script, '--target', target, '--count', '13', '--seed', '11'];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(stdout).toMatch(/13 inputs .* 0 faults; /);
    expect(status).toBe(0);
  },
  1_200_000,
);
