import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/base/files.js';

/** What a page of docs/ shows. */
export interface Document {
  /** The contents of the code blocks in a language, in order. */
  blocks: (language: string) => string[];
  /** The arguments of the commands `node bin/bang.js …`, in order. */
  commands: string[][];
}

function blocksIn(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(
    ([, block]) => block,
  );
}

export function readDocument(name: string): Document {
  const text = readFileSync(path.join(packageRoot, 'docs', name), 'utf8');
  const blocks = (language: string): string[] => blocksIn(text, language);
  const START = 'node bin/bang.js ';
  const commands = blocks('sh')
    .flatMap((block) => block.trim().split('\n'))
    .filter((line) => line.startsWith(START))
    .map((line) => line.slice(START.length).split(' '));
  return { blocks, commands };
}

/** All documents, README.md first. */
export const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(path.join(packageRoot, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => `docs/${name}`),
];

/** A command that a document shows. */
export interface Shown {
  document: string;
  /** What is started: `bang`, or a script of npm. */
  program: 'bang' | 'npm';
  args: string[];
  /** The folder that it is started in, relative to the repository. */
  folder: string;
  /** The section of the document, with its heading. */
  section: string;
  /** In a block of commands, or in a sentence, where it may lack arguments. */
  isInText: boolean;
}

/** Instead of the programs: each prints a record of fields, and nothing else can be started. */
const FUNCTIONS = `
set -o noclobber
record() { printf '%s\\x1f' "$@"; printf '\\x1e'; }
bang() { record bang "$section" "$PWD" "$@"; }
npx() { shift; shift; bang "$@"; }
node() { [ "$1" != bin/bang.js ] || { shift; bang "$@"; }; }
npm() { record npm "$section" "$PWD" "$@"; }
dirname() { printf '%s' "\${1%/*}"; }
basename() { printf '%s' "\${1##*/}"; }
`;

/**
 * The commands in a document's blocks, as a shell reads them: variables, loops and patterns are those of the document;
 * and those in its sentences.
 */
export function commandsIn(document: string, folder = packageRoot): Shown[] {
  const text = readFileSync(path.join(packageRoot, document), 'utf8');
  const sections = sectionsIn(text);
  const script = sections.flatMap((section, i) =>
    blocksIn(section, 'sh').map((block) => `section=${i}\ncd "$start"\n${block}`),
  );
  const { stdout, error } = spawnSync('/bin/bash', ['-c', FUNCTIONS + script.join('\n')], {
    cwd: folder,
    env: { PATH: '/nowhere', start: folder },
    encoding: 'utf8',
  });
  if (error) throw error;
  const inBlocks = stdout
    .split('\x1e')
    .filter((record) => record !== '')
    .map((record): Shown => {
      const [program, section, where, ...args] = record.split('\x1f').slice(0, -1);
      return {
        document,
        program: program as Shown['program'],
        args,
        folder: path.relative(folder, where),
        section: sections[Number(section)],
        isInText: false,
      };
    });
  const inText = sections.flatMap((section) =>
    [
      ...withoutBlocks(section).matchAll(
        /`((?:npx\s+--no\s+)?bang|node\s+bin\/bang\.js|npm\s+run)\s([^`]+)`/g,
      ),
    ].map(([, program, rest]): Shown => ({
      document,
      program: program.startsWith('npm') ? 'npm' : 'bang',
      args: [...(program.startsWith('npm') ? ['run'] : []), ...rest.trim().split(/\s+/)],
      folder: '',
      section,
      isInText: true,
    })),
  );
  return [...inBlocks, ...inText];
}

function withoutBlocks(text: string): string {
  return text.replace(/^```[^]*?^```/gm, '');
}

/** A document in its sections, each with what is above it, down to the first heading. */
function sectionsIn(text: string): string[] {
  const parts: string[] = [];
  let isCode = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) isCode = !isCode;
    if (parts.length === 0 || (!isCode && /^#+ /.test(line))) parts.push('');
    parts[parts.length - 1] += `${line}\n`;
  }
  return parts;
}
