import { omit } from '../../base/omit.js';
import { UserError } from '../../base/errors.js';
import { inWords, quoted } from '../../base/text.js';
import { byChannelOf, foldedInto, layerOf } from './fold.js';
import { isWeighted, type LayerSpec, type Shape, withoutBatchNorm } from '../layers.js';
import { connected } from '../network.js';
import type { NetworkSpec } from '../networks.js';
import { caffeShape } from '../parameters.js';
import { MEAN, type NamedArray, type WeightFile } from '../tensors.js';

/** The tensors of one layer in a file, by what follows the layer's name. */
type Group = Map<string, NamedArray>;

const BATCH_NORM = ['running_mean', 'running_var'] as const;

/** A layer with tensors, and the shapes of its weight and bias in Caffe's layout. */
interface Wanted {
  name: string;
  kind: 'conv' | 'innerProduct' | 'batchNorm';
  shape: number[];
  weights?: string;
}

/**
 * The weights of another program as those of a network: its layers get the tensors that they name (`weights`), or
 * that are called as they are, or else the first that are left, in the order of their names, of the right shape.
 * Batch normalisation is folded into the layer before it.
 *
 * @param file names the file in messages
 * @returns with the network that the weights then belong to, without batch normalisation
 * @throws UserError that names a tensor or a layer that does not fit, and the shape that was expected
 */
export function adaptWeights(
  given: WeightFile,
  spec: Omit<NetworkSpec, 'name'>,
  file: string,
): WeightFile {
  const { groups, mean } = groupsOf(given.tensors);
  const wanted = wantedBy(spec);
  const { found, guessed } = assigned(wanted, groups, file);
  if (mean && !spec.subtractMean) {
    throw new UserError(
      `${file}: has the mean image that the network subtracts, but the network does not say subtractMean: true`,
    );
  }
  const notes = [...(given.notes ?? [])];
  if (guessed.length > 0) {
    notes.push(`${file}: tensors are matched by order and shape: ${guessed.join(', ')}`);
  }
  const { layers, tensors, unbiased } = folded(spec, found, file);
  if (unbiased.size > 0) {
    notes.push(`${file}: there is no bias for ${[...unbiased].join(', ')}: it is taken to be 0`);
  }
  if (mean) tensors.set(MEAN, mean);
  return { ...given, notes, tensors, network: { ...spec, layers } };
}

/** The tensors by layer, in natural order: features.2 before features.10. */
function groupsOf(tensors: ReadonlyMap<string, NamedArray>): {
  groups: Map<string, Group>;
  mean: NamedArray | undefined;
} {
  const names = [...tensors.keys()].filter((name) => name !== MEAN);
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const groups = new Map<string, Group>();
  for (const name of names) {
    const dot = name.lastIndexOf('.');
    const [layer, what] = [name.slice(0, Math.max(dot, 0)), name.slice(dot + 1)];
    const group = groups.get(layer) ?? new Map<string, NamedArray>();
    groups.set(layer, group.set(what, tensors.get(name)!));
  }
  return { groups, mean: tensors.get(MEAN) };
}

/** The layers of a network that have tensors, in order. */
function wantedBy(spec: Omit<NetworkSpec, 'name'>): Wanted[] {
  const wanted: Wanted[] = [];
  let i = 0;
  for (const { layer } of connected(spec.layers.map(withoutBatchNorm), spec.input)) {
    const own = spec.layers[i++];
    if (own.kind === 'batchNorm') {
      wanted.push({ name: own.name, kind: own.kind, shape: [layer.output.at(-1)!], ...at(own) });
    } else if (isWeighted(layer)) {
      const kind = own.kind as 'conv' | 'innerProduct';
      wanted.push({ name: layer.name, kind, shape: caffeShape(layer), ...at(own) });
    }
  }
  return wanted;
}

function at({ weights }: { weights?: string }): { weights?: string } {
  return weights === undefined ? {} : { weights };
}

/** The group of tensors of each layer, by its name, and which of them were found only by order and shape. */
function assigned(
  wanted: readonly Wanted[],
  groups: ReadonlyMap<string, Group>,
  file: string,
): { found: Map<string, Group>; guessed: string[] } {
  const left = new Map(groups);
  const found = new Map<string, Group>();
  const common = commonPrefix([...groups.keys()]);
  const take = (layer: Wanted, name: string): void => {
    found.set(layer.name, left.get(name)!);
    left.delete(name);
  };
  for (const layer of wanted) {
    const called = layer.weights ?? layer.name;
    const name = [called, common + called].find((one) => left.has(one));
    if (name !== undefined) {
      const wrong = misfit(layer, left.get(name)!);
      if (wrong) throw new UserError(`${file}: ${mismatch(name, layer, wrong, left.get(name))}`);
      take(layer, name);
    } else if (layer.weights !== undefined) {
      throw new UserError(
        `${file}: no tensor is called ${layer.weights}.weight, as layer ${layer.name} says; there are ${listed(left)}`,
      );
    }
  }
  const guessed: string[] = [];
  for (const layer of wanted) {
    if (found.has(layer.name)) continue;
    const name = [...left.keys()].find((one) => !misfit(layer, left.get(one)!));
    if (name === undefined) throw new UserError(`${file}: ${noneFits(layer, left)}`);
    guessed.push(`${layer.name} from ${name}`);
    take(layer, name);
  }
  if (left.size > 0) {
    throw new UserError(
      `${file}: ${listed(left)} belong${left.size === 1 ? 's' : ''} to no layer of the network, which has ${inWords(wanted.map(({ name }) => name))}`,
    );
  }
  return { found, guessed };
}

/** The prefix, with its last dot, that all names share and that wrappers put there, such as `module.`. */
function commonPrefix(names: readonly string[]): string {
  const [first = ''] = names;
  const parts = first.split('.').slice(0, -1);
  while (parts.length > 0 && !names.every((name) => name.startsWith(`${parts.join('.')}.`))) {
    parts.pop();
  }
  return parts.length === 0 ? '' : `${parts.join('.')}.`;
}

/** The first tensor of a group that does not fit a layer, with the shape that it should have. */
function misfit(
  { kind, shape }: Wanted,
  group: Group,
): { what: string; expected: number[] } | undefined {
  const outputs = [shape[0]];
  const expected: Record<string, number[]> =
    kind === 'batchNorm'
      ? { weight: outputs, bias: outputs, running_mean: outputs, running_var: outputs }
      : { weight: shape, bias: outputs };
  const needed = kind === 'batchNorm' ? BATCH_NORM : ['weight'];
  for (const what of needed) {
    if (!group.has(what)) return { what, expected: expected[what] };
  }
  for (const [what, tensor] of group) {
    if (!Object.hasOwn(expected, what)) return { what, expected: [] };
    if (tensor.shape.join() !== expected[what].join()) return { what, expected: expected[what] };
  }
  return undefined;
}

function mismatch(
  name: string,
  layer: Wanted,
  { what, expected }: { what: string; expected: number[] },
  group?: Group,
): string {
  const tensor = group?.get(what);
  if (expected.length === 0) return `tensor ${name}.${what} has no place in layer ${layer.name}`;
  const needs = `layer ${layer.name} needs ${shapeOf(expected)}`;
  if (!tensor) return `tensor ${name}.${what} is missing or of another shape: ${needs}`;
  return `tensor ${name}.${what} has shape ${shapeOf(tensor.shape)}, ${needs}${orderHint(tensor.shape, expected)}`;
}

/** Whether a shape is the expected one with the axes of TensorFlow or Keras. */
function orderHint(found: readonly number[], expected: readonly number[]): string {
  const [o, i, h, w] = expected;
  const theirs = expected.length === 4 ? [h, w, i, o] : [i, o];
  return found.join() === theirs.join()
    ? '; its axes are in the order of Keras: save it from PyTorch, or with outputs first'
    : '';
}

function noneFits(layer: Wanted, left: ReadonlyMap<string, Group>): string {
  const what = layer.kind === 'batchNorm' ? 'running_mean' : 'weight';
  const needs = `layer ${layer.name} needs a ${what} of shape ${shapeOf(layer.shape)}`;
  const of = [...left].flatMap(([name, group]) => {
    const tensor = group.get(what);
    return tensor ? [`${name}.${what} ${shapeOf(tensor.shape)}`] : [];
  });
  const near = [...left.values()]
    .flatMap((group) => group.get(what) ?? [])
    .map(({ shape }) => orderHint(shape, layer.shape))
    .find((hint) => hint !== '');
  return of.length === 0
    ? `${needs}, but no tensor is left for it`
    : `${needs}, but of those that are left, ${of.slice(0, 5).join(', ')}${of.length > 5 ? ', …' : ''}, none has it${near ?? ''}`;
}

function shapeOf(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

function listed(groups: ReadonlyMap<string, Group>): string {
  const names = [...groups].flatMap(([name, group]) =>
    [...group.keys()].map((what) => (name === '' ? what : `${name}.${what}`)),
  );
  const shown = names.slice(0, 6).map((name) => quoted(name));
  return `${shown.join(', ')}${names.length > 6 ? ', …' : ''}`;
}

/**
 * Layers without batch normalisation, and their tensors.
 *
 * @returns also the layers that have no bias in the file, but for those before a batch normalisation, which need none
 */
function folded(
  { layers: all, input }: Omit<NetworkSpec, 'name'>,
  found: ReadonlyMap<string, Group>,
  file: string,
): { layers: LayerSpec[]; tensors: Map<string, NamedArray>; unbiased: Set<string> } {
  const unbiased = new Set<string>();
  const layers: LayerSpec[] = [];
  const tensors = new Map<string, NamedArray>();
  /** What a name of a batch normalisation that is gone stands for. */
  const renamed = new Map<string, string>();
  const isTaken = (name: string): boolean =>
    all.some((one) => one.from === name || (one.kind === 'add' && one.with === name));
  const rename = (layer: LayerSpec): LayerSpec => {
    const own = omit(layer, 'weights') as LayerSpec;
    if (own.from !== undefined) own.from = renamed.get(own.from) ?? own.from;
    if (own.kind === 'add') own.with = renamed.get(own.with) ?? own.with;
    return own;
  };
  let before: LayerSpec | undefined;
  let shape: Shape = input;
  for (const layer of all) {
    if (layer.kind === 'batchNorm') {
      const group = found.get(layer.name)!;
      const data = (what: string) => group.get(what)?.data;
      const by = byChannelOf({
        weight: data('weight'),
        bias: data('bias'),
        mean: data('running_mean')!,
        variance: data('running_var')!,
        epsilon: layer.epsilon ?? 1e-5,
      });
      if (by.factor.length !== shape.at(-1)) throw new Error(`${file}: ${layer.name}`);
      const canFold =
        (before?.kind === 'conv' || before?.kind === 'innerProduct') && !isTaken(before.name);
      if (canFold) {
        const name = before!.name!;
        const weight = tensors.get(`${name}.weight`)!;
        const bias = tensors.get(`${name}.bias`)!;
        const both = foldedInto(weight, bias, by);
        tensors.set(`${name}.weight`, both.weight);
        tensors.set(`${name}.bias`, both.bias);
        renamed.set(layer.name, name);
        unbiased.delete(name);
      } else {
        const own = layerOf(by, shape.length === 3 ? 'conv' : 'innerProduct', layer.name);
        layers.push(own.spec);
        tensors.set(`${layer.name}.weight`, own.weight);
        tensors.set(`${layer.name}.bias`, own.bias);
      }
      before = undefined;
      continue;
    }
    const own = rename(layer);
    layers.push(own);
    before = own;
    if (own.kind === 'conv' || own.kind === 'innerProduct') {
      const group = found.get(own.name)!;
      const weight = group.get('weight')!;
      const bias = group.get('bias') ?? {
        shape: [weight.shape[0]],
        data: new Float32Array(weight.shape[0]),
      };
      if (!group.has('bias')) unbiased.add(own.name);
      tensors.set(`${own.name}.weight`, weight);
      tensors.set(`${own.name}.bias`, bias);
    }
    shape = [...connected(layers, input)].at(-1)!.layer.output;
  }
  return { layers, tensors, unbiased };
}
