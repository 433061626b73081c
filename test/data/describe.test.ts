import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { descriptionIn, type Description } from '#bang/data/describe.js';

const NAME = 'emnist-letters-mapping.txt';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function described(text: string): Promise<Description> {
  writeFileSync(path.join(folder, NAME), text);
  return descriptionIn(folder, new Set([NAME]));
}

describe("EMNIST's list of characters", () => {
  it('names the classes, from its first label on', async () => {
    expect(await described('1 65 97\r\n2 66 98\r\n')).toMatchObject({
      firstLabel: 1,
      classes: ['A', 'B'],
    });
  });

  it.each([
    ['a label left out', '0 65\n2 66\n', 'expected 1 and the code of a character, found "2 66"'],
    ['no code', '0 65\n1\n', 'expected 1 and the code of a character, found "1"'],
    ['letters', 'A 65\n', 'expected 0 and the code of a character, found "A 65"'],
    ['a fraction', '1.5 65\n', 'expected 1 and the code of a character, found "1.5 65"'],
  ])('is refused with %s', async (_, text, message) => {
    await expect(described(text)).rejects.toThrow(`${path.join(folder, NAME)}: ${message}`);
  });
});
