import {
  Composer,
  CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parse,
  type ParsedNode,
  Parser,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../base/errors.js';
import { type KeyPath, pathText } from './problems.js';

/** A place in a file, with line and column from 1, or on the command line. */
export type Place = { file: string; line: number; column: number } | { set: string };

export type Scalar = string | number | boolean | null;

/** A YAML value with the places of itself and of its key. Null is a scalar. */
export type Tree = { at: Place; keyAt: Place } &
  /** `written`: a number, true or false as in the file, such as `1.10`. */
  (
    | { kind: 'scalar'; value: Scalar; written?: string }
    | { kind: 'list'; items: Tree[] }
    /** `partial`: made by `change` around a value, not written in a file. */
    | { kind: 'mapping'; entries: Map<string, Tree>; partial?: true }
  );

/** Something wrong with a file or an override; printed as `x.yaml:7:5: …`. */
export interface Complaint {
  at: Place;
  text: string;
}

/** Thrown inside the loader, which turns it into a `ConfigError`. */
export class Complaints extends Error {
  constructor(readonly complaints: Complaint[]) {
    super('complaints');
  }
}

/** A deeper or larger file is a mistake, or has aliases that multiply. */
const MAX_DEPTH = 20;
const MAX_VALUES = 10_000;
/** For tokens, which nest deeper than values; `MAX_DEPTH` gives the more exact message. */
const MAX_TOKEN_DEPTH = 100;
/** Further errors in a broken file usually follow from the first. */
const MAX_SYNTAX_ERRORS = 10;

/** The key of YAML 1.1 that merges mappings, which version 1.2 lacks but files still use. */
const MERGE = '<<';

const KEY_EXPECTED = 'expected a word as the key';

/**
 * Parses one YAML 1.2 document. Some things are done here instead of by the library. It expands aliases
 * only in plain values (`toJS`, `maxAliasCount`), which have no places. Its `uniqueKeys` compares all pairs
 * of keys and does not report where the first one is. Deep nesting crashes it (see `tooDeep`).
 *
 * @param placeOf the place for a line and a column of the text, both from 1
 * @returns the tree, or undefined if the text has only space and comments
 * @throws Complaints
 */
export function parseYaml(
  text: string,
  placeOf: (line: number, column: number) => Place,
): Tree | undefined {
  const lineCounter = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset);
    return placeOf(line, col);
  };
  const fail = (place: Place, sentence: string) => new Complaints([{ at: place, text: sentence }]);
  const documents = read();
  const broken = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  if (broken.length > 0) {
    throw new Complaints(
      broken.slice(0, MAX_SYNTAX_ERRORS).map(({ code, message, pos: [begin] }) => ({
        at: at(begin),
        text:
          code === 'NON_STRING_KEY'
            ? KEY_EXPECTED
            : message.charAt(0).toLowerCase() + message.slice(1),
      })),
    );
  }
  if (documents.length > 1) {
    const [begin] = documents[1].range;
    throw fail(at(begin), 'a second document begins here; expected one document');
  }
  const [document] = documents as (Document.Parsed | undefined)[];
  if (!document?.contents) return undefined;
  const { explicit, version } = document.directives.yaml;
  if (explicit === true && version !== '1.2') {
    throw fail(at(0), `this is YAML ${version}; expected YAML 1.2, which needs no %YAML line`);
  }

  const anchors = new Map<string, ParsedNode>();
  const duplicates: Complaint[] = [];
  let values = 0;
  let aliases = 0;
  const tree = convert(document.contents, at(document.contents.range[0]), 0);
  if (duplicates.length > 0) throw new Complaints(duplicates);
  return tree;

  function read(): Document.Parsed[] {
    const options = { prettyErrors: false, stringKeys: true, uniqueKeys: false } as const;
    try {
      const tokens = [...new Parser(lineCounter.addNewLine).parse(text)];
      const deep = tokens.map(tooDeep).find((token) => token !== undefined);
      if (deep) throw fail(at(deep.offset), 'nested too deeply');
      const composer = new Composer({ ...options, resolveKnownTags: false, logLevel: 'error' });
      return [...composer.compose(tokens)];
    } catch (error) {
      if (error instanceof Complaints) throw error;
      throw fail(at(0), `not readable as YAML: ${messageOf(error)}`);
    }
  }

  function convert(node: ParsedNode, keyAt: Place, depth: number): Tree {
    const here = at(node.range[0]);
    if (depth > MAX_DEPTH) throw fail(here, 'nested too deeply');
    if (++values > MAX_VALUES) {
      throw fail(here, `more than ${MAX_VALUES} values, aliases counted each time`);
    }
    if (isAlias(node)) {
      // Not `node.resolve`, which searches the whole document for each alias.
      const target = anchors.get(node.source);
      if (!target) throw fail(here, `there is no anchor &${node.source} before this alias`);
      aliases++;
      const tree = convert(target, keyAt, depth + 1);
      aliases--;
      return tree;
    }
    // Anchors inside an alias's target do not count: an alias means the latest anchor above it.
    if (node.anchor !== undefined && aliases === 0) anchors.set(node.anchor, node);
    if (isMap(node)) return { at: here, keyAt, kind: 'mapping', entries: mappingOf(node, depth) };
    if (isSeq(node)) {
      const items = node.items.map((item) => convert(item, at(item.range[0]), depth + 1));
      return { at: here, keyAt, kind: 'list', items };
    }
    if (isScalar(node) && isPlain(node.value)) {
      const { value, source: written } = node;
      return { at: here, keyAt, kind: 'scalar', value, ...(isBare(value) && { written }) };
    }
    throw fail(here, 'expected text, a number, true, false, null, a list or a mapping');
  }

  function mappingOf(node: YAMLMap.Parsed, depth: number): Map<string, Tree> {
    const entries = new Map<string, Tree>();
    const merged = new Map<string, Tree>();
    let mergeAt: Place | undefined;
    for (const { key, value } of node.items) {
      const keyAt = at(key.range[0]);
      if (!isScalar(key) || typeof key.value !== 'string') throw fail(keyAt, KEY_EXPECTED);
      if (key.value === MERGE && key.type === 'PLAIN') {
        if (mergeAt) throw fail(keyAt, 'a second << in one mapping: give one, with a list');
        mergeAt = keyAt;
        const from = value && convert(value, keyAt, depth + 1);
        for (const [name, tree] of mergedFrom(from ?? undefined, keyAt)) merged.set(name, tree);
        continue;
      }
      const before = entries.get(key.value)?.keyAt;
      if (before && aliases === 0) {
        const where = 'line' in before ? `, first in line ${before.line}` : '';
        const text = `${pathText([key.value])}: duplicate key${where}`;
        duplicates.push({ at: keyAt, text });
      }
      entries.set(
        key.value,
        value
          ? convert(value, keyAt, depth + 1)
          : { at: keyAt, keyAt, kind: 'scalar', value: null },
      );
    }
    return new Map([...merged, ...entries]);
  }

  /** What `<<` adds to a mapping: of several mappings, the first counts. */
  function mergedFrom(from: Tree | undefined, keyAt: Place): [string, Tree][] {
    const maps = from?.kind === 'list' ? from.items : [from];
    return maps.toReversed().flatMap((map) => {
      if (map?.kind === 'mapping') return [...map.entries];
      throw fail(
        map?.at ?? keyAt,
        '<<: expected a mapping to merge, such as *anchor, or a list of them',
      );
    });
  }
}

/** The value of a key; undefined if there is none. */
export function inner(tree: Tree | undefined, key: string): Tree | undefined {
  return tree?.kind === 'mapping' ? tree.entries.get(key) : undefined;
}

export function entriesOf(tree: Tree | undefined): [string, Tree][] {
  return tree?.kind === 'mapping' ? [...tree.entries] : [];
}

export function itemsOf(tree: Tree | undefined): Tree[] {
  return tree?.kind === 'list' ? tree.items : [];
}

/** The tree at a path, if there is one. */
export function treeAt(tree: Tree, path: KeyPath): Tree | undefined {
  return path.reduce<Tree | undefined>(
    (outer, key) => (typeof key === 'number' ? itemsOf(outer)[key] : inner(outer, key)),
    tree,
  );
}

/**
 * A tree as plain data.
 *
 * @param removed receives the paths of keys that are set to null, which are left out then
 */
export function plain(tree: Tree, removed?: KeyPath[], at: KeyPath = []): unknown {
  switch (tree.kind) {
    case 'scalar':
      return tree.value;
    case 'list':
      return tree.items.map((item, i) => plain(item, removed, [...at, i]));
    case 'mapping': {
      const entries: [string, unknown][] = [];
      for (const [key, value] of tree.entries) {
        if (removed && isNull(value)) removed.push([...at, key]);
        else entries.push([key, plain(value, removed, [...at, key])]);
      }
      // Unlike assignment, this makes `__proto__` an ordinary key.
      return Object.fromEntries(entries);
    }
  }
}

export function isNull(tree: Tree): boolean {
  return tree.kind === 'scalar' && tree.value === null;
}

/**
 * A token that is nested too deeply. The library composes nested values recursively; when the stack
 * overflows, Node may abort while compiling one of the library's regular expressions. So this checks
 * first, without recursion.
 */
function tooDeep(root: CST.Token): CST.Token | undefined {
  const pending: { token: CST.Token; depth: number }[] = [{ token: root, depth: 0 }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { token, depth } = next;
    if (depth > MAX_TOKEN_DEPTH) return token;
    const inner: (CST.Token | null | undefined)[] = [];
    if (token.type === 'document') inner.push(token.value);
    if (CST.isCollection(token)) {
      for (const { key, value } of token.items) inner.push(key, value);
    }
    for (const child of inner) if (child) pending.push({ token: child, depth: depth + 1 });
  }
  return undefined;
}

/**
 * Plain data from YAML that a program wrote.
 *
 * @throws Error if it is not YAML, or is nested too deeply
 */
export function parsePlainYaml(text: string): unknown {
  if ([...new Parser().parse(text)].some(tooDeep)) throw new Error('nested too deeply');
  return parse(text);
}

/** Whether a value can be written in more than one way without quotes. */
function isBare(value: Scalar): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}

function isPlain(value: unknown): value is Scalar {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}
