// Damage of texts, bytes and JSON values, and what fits a JSON Schema. All of it comes from the generator that
// is passed, so an input can be made again.

/** A whole number from 0 to below `count`. */
export function below(random, count) {
  return Math.floor(random.uniform() * count);
}

export function oneOf(random, list) {
  return list[below(random, list.length)];
}

export function chance(random, share) {
  return random.uniform() < share;
}

/** How many damages: mostly one, which goes furthest before it is refused. */
function few(random) {
  let count = 1;
  while (count < 6 && chance(random, 0.35)) count++;
  return count;
}

// prettier-ignore
const SCRAPS = [
  '\n', '\t', ' ', '  ', ':', ': ', '- ', '[', ']', '{', '}', ',', '"', "'", '#', '|', '>', '?',
  '&a ', '*a', '!!set ', '!!binary ', '!x ', '%', '@', '`', '~', '<<: *a\n', '---\n', '...\n', '\r',
  'null', 'true', 'no', '-1', '0', '-0', '0.1', '1e999', '1e-400', '0x10', '.nan', '.inf', '1_000',
  '9007199254740993', '4294967296', '-.5', '1e3', '2026-01-01', '1:30', '\u0000', '\u001b[31m',
  '\ud800', '\u2028', '\ufeff', 'é', '😀', '__proto__', 'constructor', 'toString', 'hasOwnProperty',
  'extends: x.yaml\n', 'extends: .\n', 'seeds: [1, 1]\n', 'bang: null\n', '../..', '/dev/zero', 'x-a: 1\n',
];

/** A text with a few pieces removed, inserted, replaced, doubled or exchanged. */
export function mutateText(random, text) {
  let result = text;
  for (let n = few(random); n > 0; n--) {
    const at = below(random, result.length + 1);
    const to = Math.min(result.length, at + below(random, 12));
    const kind = below(random, 6);
    if (kind === 0) result = result.slice(0, at) + result.slice(to);
    else if (kind === 1) result = result.slice(0, at) + oneOf(random, SCRAPS) + result.slice(at);
    else if (kind === 2) result = result.slice(0, at) + oneOf(random, SCRAPS) + result.slice(to);
    else if (kind === 3) result = otherValue(random, result);
    else {
      const lines = result.split('\n');
      const [i, j] = [below(random, lines.length), below(random, lines.length)];
      if (kind === 4) [lines[i], lines[j]] = [lines[j], lines[i]];
      else lines.splice(i, 0, lines[j]);
      result = lines.join('\n');
    }
  }
  return result;
}

/** A text in which a number or word after a colon or comma is another. */
function otherValue(random, text) {
  const places = [...text.matchAll(/(?<=[:,[] ?)[\w.+-]+/g)];
  if (places.length === 0) return text;
  const { 0: word, index } = oneOf(random, places);
  return text.slice(0, index) + oneOf(random, SCRAPS) + text.slice(index + word.length);
}

/** Bytes with a few damages: a bit, a byte, a large number, a stretch of zeros, an end cut off or added. */
export function mutateBytes(random, bytes, { within = bytes.length } = {}) {
  let result = Uint8Array.from(bytes);
  for (let n = few(random); n > 0; n--) {
    const at = below(random, Math.min(within, result.length));
    const kind = below(random, 8);
    if (result.length === 0) return result;
    if (kind < 3) result[at] ^= 1 << below(random, 8);
    else if (kind === 3) result[at] = below(random, 256);
    else if (kind === 4) result.fill(oneOf(random, [0, 255]), at, at + 1 + below(random, 8));
    else if (kind === 5)
      result[at] = oneOf(random, ['"', '{', '}', '[', ',', '9', '\\']).charCodeAt(0);
    else if (kind === 6 && chance(random, 0.3)) result = result.slice(0, at);
    else if (kind === 7) result.set(result.slice(0, Math.min(8, result.length - at)), at);
  }
  return result;
}

// prettier-ignore
const VALUES = [
  null, true, false, 0, -0, 1, -1, 2, 0.5, 1e308, -1e308, 1e-320, 2 ** 53, 2 ** 32, '', 'x', ' ',
  '../../x', 'a\u0000b', '\u001b[2J', '<script>', '=1+1', '|', '__proto__', 'constructor', '\ud800',
  '9'.repeat(400), 'é'.repeat(300), [], {}, [null], [[]], [1, 'x'], { a: 1 }, { mean: 1, std: 0 },
];

/** A JSON value of which a few parts are replaced, removed, doubled, or moved to another place. */
export function mutateJson(random, value) {
  const root = { value: structuredClone(value) };
  for (let n = few(random); n > 0; n--) {
    const [holder, key] = oneOf(random, placesIn(root));
    const kind = below(random, 6);
    if (kind < 3) holder[key] = structuredClone(oneOf(random, VALUES));
    else if (kind === 3 && !Array.isArray(holder) && holder !== root) delete holder[key];
    else if (kind === 4) {
      const [from, other] = oneOf(random, placesIn(root));
      holder[key] = structuredClone(from[other]);
    } else if (Array.isArray(holder)) holder.splice(Number(key), 0, structuredClone(holder[key]));
    else if (holder !== root) holder[oneOf(random, ['constructor', 'toString', 'x', '', 'é'])] = 1;
  }
  return root.value;
}

/** Each value in a tree of values, as its holder and key. */
function placesIn(holder) {
  return Object.entries(holder).flatMap(([key, inner]) =>
    typeof inner === 'object' && inner !== null
      ? [[holder, key], ...placesIn(inner)]
      : [[holder, key]],
  );
}

/** A value that fits a JSON Schema, or that in a few places just does not. */
export function sample(random, schema, depth = 0) {
  if (chance(random, 0.02)) return structuredClone(oneOf(random, VALUES));
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return sample(random, oneOf(random, choices), depth);
  if (schema.allOf) return sample(random, schema.allOf[0], depth);
  if ('const' in schema) return schema.const;
  if (schema.enum) return oneOf(random, schema.enum);
  if (schema.default !== undefined && chance(random, 0.3)) return structuredClone(schema.default);
  switch (Array.isArray(schema.type) ? oneOf(random, schema.type) : schema.type) {
    case 'object':
      return sampleObject(random, schema, depth);
    case 'array': {
      const length = (schema.minItems ?? 0) + below(random, 4);
      const items = schema.prefixItems ?? Array.from({ length }, () => schema.items ?? {});
      return items.map((inner) => sample(random, inner, depth + 1));
    }
    case 'integer':
      return sampleNumber(random, schema, true);
    case 'number':
      return sampleNumber(random, schema, false);
    case 'boolean':
      return chance(random, 0.5);
    case 'null':
      return null;
    case 'string':
      return oneOf(random, ['conv1', 'ip1', 'a', 'x y', 'accuracy', 'lenet.yaml', '1']);
    default:
      return depth > 4 ? 1 : structuredClone(oneOf(random, VALUES));
  }
}

function sampleObject(random, schema, depth) {
  const required = new Set(schema.required ?? []);
  const named = Object.entries(schema.properties ?? {})
    .filter(([key]) => chance(random, required.has(key) ? 0.98 : 0.4))
    .map(([key, inner]) => [key, sample(random, inner, depth + 1)]);
  const more =
    typeof schema.additionalProperties === 'object' && depth < 6
      ? Array.from({ length: below(random, 3) }, () => [
          oneOf(random, ['conv1', 'conv2', 'ip1', 'ip2', 'training.batch', 'accuracy', 'seed']),
          sample(random, schema.additionalProperties, depth + 1),
        ])
      : [];
  return Object.fromEntries([...named, ...more]);
}

function sampleNumber(random, { minimum, exclusiveMinimum, maximum, exclusiveMaximum }, whole) {
  const low = minimum ?? exclusiveMinimum ?? -2;
  const high = Math.min(
    maximum ?? exclusiveMaximum ?? Infinity,
    low + oneOf(random, [1, 10, 1000, 1e6]),
  );
  const value = oneOf(random, [low, high, low + random.uniform() * (high - low)]);
  return whole ? Math.round(value) : value;
}
