import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bangInsideOk, bangOk, type Workspace, workspace } from './bang.js';
import { readDocument } from './documents.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const FEW = ['--set', 'evaluation.images=20', '--set', 'evaluation.pass=false'];
/** What makes a command of the page quick. */
const QUICK: Record<string, string[]> = {
  run: [...FEW, '--set', 'training.iterations=100', '--set', 'training.logEvery=100'],
  eval: [
    ...FEW,
    '--set',
    'evaluation.apgd={steps: 5, restarts: 0}',
    '--set',
    'evaluation.square={queries: 100}',
  ],
  report: ['--examples', '0'],
};

/** The words of a text that are the same for every machine and number of images. */
const words = (text: string): string[] => text.match(/[A-Za-z][A-Za-z-]{3,}/g) ?? [];

describe('docs/tutorial.md', () => {
  const { blocks, commands } = readDocument('tutorial.md');

  it('has commands that work in order, and print what it says', async () => {
    const names = 'doctor init validate run run eval eval table report';
    expect(commands.map(([name]) => name).join(' ')).toBe(names);
    const printed: string[] = [];
    for (const args of commands) {
      // Those that train as a user starts them; the others without a start of half a second and more.
      const start = args[0] === 'run' ? bangOk : bangInsideOk;
      const { stdout, stderr } = await start([...args, ...(QUICK[args[0]] ?? [])], {
        cwd: space.folder,
      });
      printed.push(stderr + stdout);
      // Exactly, where nothing is computed.
      if (args[0] === 'init' || args[0] === 'validate') {
        expect(blocks('text').join('')).toContain(stdout);
      }
    }
    // Elsewhere the numbers are other ones, and perhaps the findings, but every line of the page begins as one printed.
    const begun = (line: string): string => words(line).slice(0, 2).join(' ');
    const all = printed.join('\n').split('\n').map(begun);
    const shown = blocks('text').join('').split('\n');
    const missing = shown.filter((line) => words(line).length > 1 && !all.includes(begun(line)));
    expect(missing.filter((line) => !/^(cpu|node|engine) |^mine-\w+: /.test(line))).toEqual([]);
    // Of the findings, those that hold with few images, too.
    expect(space.read('runs/bang-verdict/robustness.csv')).toMatch(/^mine-bang,.*,worst,/m);
    expect(space.read('report.html')).toContain('mine-regular');
  });
});
