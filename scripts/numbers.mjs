// The numbers in README and docs/ that quote results/: tables below a comment `<!-- numbers: NAME -->`, and numbers
// before a comment `<!-- = SOURCE -->`. `npm run numbers` writes them as results/ have them; with --check it only says
// which are not.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { quoted } from './numbers/quotes.mjs';
import { root } from './numbers/results.mjs';
import { TABLES } from './numbers/tables.mjs';

function cellsOf(line) {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

// A mark without a table gets one.
const TABLE = /(<!-- numbers: (\S+) -->\n\n)((?:\|.*\n)*)/g;

/** The text with its marked tables as they should be. */
async function tabled(text, differs) {
  const right = new Map();
  for (const [, , name] of text.matchAll(TABLE)) right.set(name, await TABLES[name]());
  return text.replace(TABLE, (all, mark, name, table) => {
    const lines = table.trimEnd().split('\n').map(cellsOf);
    const [heading, ...rows] = right.get(name);
    if (JSON.stringify(lines.toSpliced(1, 1)) === JSON.stringify([heading, ...rows])) return all;
    differs(`the table ${name} differs`);
    // Numbers are to the right.
    const rule = heading.map((_, i) => (/^[+-]?\d/.test(rows[0][i]) ? '--:' : '---'));
    const made = [heading, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
    return mark + made + (table === '' ? '\n' : '');
  });
}

const check = process.argv.includes('--check');
const docs = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
let wrong = 0;
for (const file of ['README.md', ...docs.map((name) => `docs/${name}`)]) {
  const text = readFileSync(path.join(root, file), 'utf8');
  const differs = (message) => {
    wrong++;
    process.stderr.write(`${file}: ${message}\n`);
  };
  const written = await quoted(await tabled(text, differs), differs);
  if (!check && written !== text) writeFileSync(path.join(root, file), written);
}
if (check && wrong > 0) {
  process.stderr.write('`npm run numbers` writes them anew; read the sentences around them, too\n');
  process.exitCode = 1;
}
