import {
  Composer,
  CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  Parser,
  type Document,
  type ParsedNode,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../base/errors.js';
import { pathText } from './problems.js';

/** Where something is written: in a file, lines and columns from 1, or on the command line. */
export type Place = { file: string; line: number; column: number } | { set: string };

export type Scalar = string | number | boolean | null;

/** A YAML value that knows where it and its key are written. Null is a scalar. */
export type Tree = { at: Place; keyAt: Place } & (
  | { kind: 'scalar'; value: Scalar }
  | { kind: 'list'; items: Tree[] }
  /** `partial`: made around a value, to change it; nobody has written it. */
  | { kind: 'mapping'; entries: Map<string, Tree>; partial?: true }
);

/** Something wrong with a file or an option, such as `x.yaml:7:5: …`. */
export interface Complaint {
  at: Place;
  text: string;
}

/** Thrown inside the loader; the person who typed the file sees the lines, never this object. */
export class Complaints extends Error {
  constructor(readonly complaints: Complaint[]) {
    super('complaints');
  }
}

/** Deeper or larger than any experiment: a mistake, or aliases that multiply. */
const MAX_DEPTH = 20;
const MAX_VALUES = 10_000;
/** Of syntax, which nests more than values do; `MAX_DEPTH` gives the better message. */
const MAX_TOKEN_DEPTH = 100;
/** The first errors of a broken file say what is wrong; the rest follow from them. */
const MAX_SYNTAX_ERRORS = 10;

const KEY_EXPECTED = 'expected a word as the key';

/**
 * Reads one YAML 1.2 document.
 *
 * @param placeOf the place of the character that many lines and columns into the text
 * @returns the tree, or undefined if there is nothing but space and comments
 * @throws Complaints
 */
export function parseYaml(
  text: string,
  placeOf: (line: number, column: number) => Place,
): Tree | undefined {
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return placeOf(Math.max(line, 1), Math.max(col, 1));
  };
  const fail = (place: Place, sentence: string) => new Complaints([{ at: place, text: sentence }]);

  const tokens: CST.Token[] = [];
  let documents: Document.Parsed[];
  try {
    for (const token of new Parser(lines.addNewLine).parse(text)) {
      const deep = tooDeep(token);
      if (deep) throw fail(at(deep.offset), 'nested too deeply');
      tokens.push(token);
    }
    const composer = new Composer({
      version: '1.2',
      prettyErrors: false,
      stringKeys: true,
      // The library compares all pairs of keys; `convert` finds duplicates in one pass.
      uniqueKeys: false,
      resolveKnownTags: false,
      logLevel: 'error',
    });
    documents = [...composer.compose(tokens)];
  } catch (error) {
    if (error instanceof Complaints) throw error;
    throw fail(at(0), `not readable as YAML: ${messageOf(error)}`);
  }
  const broken = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  if (broken.length > 0) {
    throw new Complaints(
      broken.slice(0, MAX_SYNTAX_ERRORS).map((error) => ({
        at: at(error.pos[0]),
        text: error.code === 'NON_STRING_KEY' ? KEY_EXPECTED : sentence(error.message),
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
  return new Converter(at, fail).convert(document.contents);
}

/**
 * A token that lies too deep. The library composes nested values by recursion, which a hostile file
 * could drive to the end of the stack, so this looks before it does, and without recursion.
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

class Converter {
  private readonly anchors = new Map<string, ParsedNode>();
  private readonly duplicates: Complaint[] = [];
  private values = 0;
  private aliases = 0;

  constructor(
    private readonly at: (offset: number) => Place,
    private readonly fail: (at: Place, text: string) => Complaints,
  ) {}

  convert(root: ParsedNode): Tree {
    const tree = this.node(root, this.at(root.range[0]), 0);
    if (this.duplicates.length > 0) throw new Complaints(this.duplicates);
    return tree;
  }

  private node(node: ParsedNode, keyAt: Place, depth: number): Tree {
    const at = this.at(node.range[0]);
    if (depth > MAX_DEPTH) throw this.fail(at, 'nested too deeply');
    if (++this.values > MAX_VALUES) {
      throw this.fail(at, `more than ${MAX_VALUES} values, aliases counted each time`);
    }
    if (isAlias(node)) {
      const target = this.anchors.get(node.source);
      if (!target) throw this.fail(at, `there is no anchor &${node.source} before this alias`);
      this.aliases++;
      const tree = this.node(target, keyAt, depth + 1);
      this.aliases--;
      return tree;
    }
    // An alias means the latest anchor above it, whatever anchors its target contains.
    if (node.anchor !== undefined && this.aliases === 0) this.anchors.set(node.anchor, node);
    if (isMap(node)) return { at, keyAt, kind: 'mapping', entries: this.entries(node, depth) };
    if (isSeq(node)) {
      const items = node.items.map((item) => this.node(item, this.at(item.range[0]), depth + 1));
      return { at, keyAt, kind: 'list', items };
    }
    if (isScalar(node) && isPlain(node.value)) {
      return { at, keyAt, kind: 'scalar', value: node.value };
    }
    throw this.fail(at, 'expected a text, a number, true, false, null, a list or a mapping');
  }

  private entries(node: YAMLMap.Parsed, depth: number): Map<string, Tree> {
    const entries = new Map<string, Tree>();
    for (const { key, value } of node.items) {
      const keyAt = this.at(key.range[0]);
      if (!isScalar(key) || typeof key.value !== 'string') {
        throw this.fail(keyAt, KEY_EXPECTED);
      }
      const before = entries.get(key.value)?.keyAt;
      if (before && this.aliases === 0) {
        const where = 'line' in before ? `, first in line ${before.line}` : '';
        this.duplicates.push({
          at: keyAt,
          text: `${pathText([key.value])}: duplicate key${where}`,
        });
      }
      entries.set(
        key.value,
        value
          ? this.node(value, keyAt, depth + 1)
          : { at: keyAt, keyAt, kind: 'scalar', value: null },
      );
    }
    return entries;
  }
}

function isPlain(value: unknown): value is Scalar {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** The library's messages begin like sentences; ours follow a colon. */
function sentence(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}
