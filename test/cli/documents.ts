import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/base/files.js';

/** What a page of docs/ shows. */
export interface Document {
  /** The contents of the code blocks in a language, in order. */
  blocks: (language: string) => string[];
  /** The arguments of the commands `npx --no bang …`, in order. */
  commands: string[][];
}

export function readDocument(name: string): Document {
  const text = readFileSync(path.join(packageRoot, 'docs', name), 'utf8');
  const blocks = (language: string): string[] =>
    [...text.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(
      ([, block]) => block,
    );
  const START = 'npx --no bang ';
  const commands = blocks('sh')
    .flatMap((block) => block.trim().split('\n'))
    .filter((line) => line.startsWith(START))
    .map((line) => line.slice(START.length).split(' '));
  return { blocks, commands };
}
