// Draws the figures in docs/figures again, each from the CSV file beside it, after a change of how they
// look: `npm run figures`.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'docs', 'figures');
for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
  if (!file.endsWith('.csv')) continue;
  const csv = path.join(folder, file);
  const args = [path.basename(file, '.csv'), csv, '--out', path.dirname(csv), '--format', 'svg'];
  execFileSync(process.execPath, [path.join(root, 'bin', 'bang.js'), 'figure', ...args], {
    stdio: 'inherit',
  });
}
