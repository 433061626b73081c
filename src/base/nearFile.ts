import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { codeOf } from './errors.js';
import { nearest } from './text.js';

/** In larger folders, no name is sought. */
const MAX_ENTRIES = 10_000;
/** Endings that stand for the same kind of file. */
const YAML = ['.yaml', '.yml'];

/** What the last part of a path may be. */
type Kind = 'file' | 'folder' | 'either';

/** `, did you mean x.yaml?` for a file or a folder that does not exist, if there is one with a similar name. */
export function didYouMean(file: string, error: unknown, kind: Kind = 'file'): string {
  const near = codeOf(error) === 'ENOENT' ? nearFile(file, kind) : undefined;
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** The file, folder by folder the one with the most similar name; undefined if there is none. */
function nearFile(file: string, kind: Kind): string | undefined {
  const { root } = path.parse(file);
  const names = file
    .slice(root.length)
    .split(path.sep)
    .filter((name) => name !== '');
  let at = root;
  for (const [i, name] of names.entries()) {
    const asKind = i === names.length - 1 ? kind : 'folder';
    const there = exists(path.join(at, name)) ? name : similarIn(at || '.', name, asKind);
    if (there === undefined) return undefined;
    at = path.join(at, there);
  }
  return at;
}

function exists(file: string): boolean {
  try {
    statSync(file);
    return true;
  } catch {
    return false;
  }
}

function similarIn(folder: string, name: string, kind: Kind): string | undefined {
  const names = namesIn(folder, kind);
  const { name: stem, ext } = path.parse(name);
  const fits = ({ ext: other }: path.ParsedPath): boolean =>
    ext === '' || nearest(ext, [other]) !== undefined;
  const others = names.map((one) => path.parse(one)).filter(fits);
  const best = nearest(
    stem,
    others.map((one) => one.name),
  );
  // Of `a.csv` and `a.yaml`, the second is meant where the ending does not tell.
  const found = others.filter((one) => one.name === best);
  return (found.find((one) => YAML.includes(one.ext)) ?? found.at(0))?.base;
}

function namesIn(folder: string, kind: Kind): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    if (entries.length > MAX_ENTRIES) return [];
    return entries
      .filter((entry) => !entry.name.startsWith('.'))
      .filter((entry) => kind !== 'file' || !entry.isDirectory())
      .filter((entry) => kind !== 'folder' || !entry.isFile())
      .map(({ name }) => name)
      .sort();
  } catch {
    return [];
  }
}
