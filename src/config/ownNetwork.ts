import { z } from 'zod';
import { shapeText } from '../base/text.js';
import { SHAPES } from '../data/shapes.js';
import type { DataName } from '../data/sources.js';
import {
  countParameters,
  isWeighted,
  makeLayer,
  ShapeError,
  type Layer,
  type LayerSpec,
  type Shape,
} from '../model/layers.js';
import { integer, mapping, positive, trueOrFalse } from './fields.js';
import type { KeyPath, Problem } from './problems.js';

/** Bounds that are ample for these images and safe for any machine. */
const MAX_LAYERS = 100;
const MAX_PARAMETERS = 2 ** 24;
/** Outputs of all layers for one image, and for a batch in training. */
const MAX_VALUES = 2 ** 19;
const MAX_BATCH_VALUES = 2 ** 28;

/** A layer's name is also a column of the training log, a key in a config and part of a tensor's name. */
const layerName = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;
const layerNameInWords = "a name of letters, digits and '_' that begins with a letter";
/** Files use the first two for other purposes; the rest are properties of every JavaScript object. */
const isReserved = (name: string): boolean => ['mean', 'velocity'].includes(name) || name in {};

function name() {
  return z
    .string({ error: layerNameInWords })
    .regex(layerName, { error: layerNameInWords, abort: true })
    .refine((value) => !isReserved(value), { error: 'a name that is not reserved' })
    .describe('Names the layer, in beta, epsilon, the training log and files of weights.');
}

const fillerSchema = z
  .discriminatedUnion(
    'kind',
    [
      mapping({
        kind: z.literal('xavier').describe('Uniform, ±sqrt(3 / inputs of one output).'),
      }),
      mapping({
        kind: z.literal('gaussian').describe('Normal with mean 0.'),
        std: positive().describe('The standard deviation.'),
      }),
    ],
    {
      error: (issue: z.core.$ZodRawIssue) =>
        issue.code === 'invalid_union' ? 'xavier or gaussian' : 'a mapping such as {kind: xavier}',
    },
  )
  .default(() => ({ kind: 'xavier' as const }))
  .describe('How the weights are initialized; left out: xavier. Biases start at 0.');

function pool<const K extends 'maxPool' | 'avgPool'>(kind: K, what: string) {
  return mapping({
    kind: z.literal(kind).describe(what),
    size: integer(1, 64).describe('Height and width of the window, in pixels.'),
    stride: integer(1, 64).describe('Pixels from one window to the next.'),
  });
}

const layerSchema = z.discriminatedUnion(
  'kind',
  [
    mapping({
      kind: z.literal('conv').describe('A convolution, with stride 1.'),
      name: name(),
      filters: integer(1, 1024).describe('How many filters: the channels of the output.'),
      size: integer(1, 64).describe('Height and width of the filters, in pixels.'),
      pad: integer(0, 63).default(0).describe('Zeros around the image, in pixels.'),
      filler: fillerSchema,
    }),
    pool('maxPool', 'The largest value of each window; windows at the border are clipped.'),
    pool('avgPool', 'The mean of each window; windows at the border are clipped.'),
    mapping({
      kind: z.literal('innerProduct').describe('A fully connected layer; its output is a vector.'),
      name: name(),
      outputs: integer(1, 4096).describe(
        'How many outputs; in the last such layer, one for each class.',
      ),
      filler: fillerSchema,
    }),
    mapping({ kind: z.literal('relu').describe('The larger of the value and 0.') }),
    mapping({
      kind: z.literal('dropout').describe('Sets random values to 0 in training.'),
      rate: z
        .number({ error: 'a number from 0 to below 1' })
        .min(0, { error: 'a number from 0 to below 1' })
        .lt(1, { error: 'a number from 0 to below 1' })
        .describe('The share of values that are set to 0: 0 to below 1.'),
    }),
  ],
  {
    error: (issue: z.core.$ZodRawIssue) =>
      issue.code === 'invalid_union'
        ? 'conv, maxPool, avgPool, innerProduct, relu or dropout'
        : 'a layer such as {kind: relu}',
  },
);

const layersInWords = `a list of 1 to ${MAX_LAYERS} layers`;

/** A network of the user's own. */
export const ownNetworkSchema = mapping({
  scale: positive().default(1).describe('Factor on the pixels (0 to 255), above 0; left out: 1.'),
  subtractMean: trueOrFalse
    .default(false)
    .describe('Whether the mean training image is subtracted from the pixels.'),
  layers: z
    .array(layerSchema, { error: layersInWords })
    .min(1, { error: layersInWords })
    .max(MAX_LAYERS, { error: layersInWords })
    .describe('The layers, from the image to one output for each class.'),
});

export type OwnNetwork = z.output<typeof ownNetworkSchema>;

/** The names of the layers with weights, from the image to the logits. */
export function weightedLayersOf(layers: readonly LayerSpec[]): string[] {
  return layers.flatMap((layer) => ('name' in layer ? [layer.name] : []));
}

/**
 * Problems of layers that are valid one by one: equal names, shapes that do not fit, networks that are
 * too large.
 *
 * @param data undefined if the config does not give it correctly: then shapes are not checked
 * @param batch images in a batch, or undefined in the same way
 */
export function problemsOfNetwork(
  { layers }: OwnNetwork,
  { data, batch }: { data: DataName | undefined; batch: number | undefined },
): Problem[] {
  const problems: Problem[] = [];
  const wrong = (path: KeyPath, message: string) =>
    problems.push({ path: ['model', 'layers', ...path], at: 'value', message });

  layers.forEach((layer, i) => {
    if (!('name' in layer)) return;
    const first = layers.findIndex((other) => 'name' in other && other.name === layer.name);
    if (first < i) wrong([i, 'name'], `layers[${first}] has this name already`);
  });
  if (data === undefined) return problems;

  const { height, width, channels, classes } = SHAPES[data];
  let shape: Shape = [height, width, channels];
  let [parameters, values] = [0, sizeOf(shape)];
  for (const [i, spec] of layers.entries()) {
    let layer: Layer;
    try {
      layer = makeLayer(spec, shape);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      // If a layer does not fit, the shapes after it are unknown.
      wrong([i, error.key], error.message);
      return problems;
    }
    shape = layer.output;
    values += sizeOf(shape);
    if (isWeighted(layer)) parameters += countParameters(layer);
    const grown =
      parameters > MAX_PARAMETERS
        ? `${parameters} parameters, expected at most ${MAX_PARAMETERS}`
        : `${values} values for each image, expected at most ${MAX_VALUES}`;
    if (parameters > MAX_PARAMETERS || values > MAX_VALUES) {
      wrong([i], `with this layer the network has ${grown}`);
      return problems;
    }
  }

  const last = layers.findLastIndex(({ kind }) => kind === 'innerProduct');
  if (shape.length === 3) {
    const end = `{kind: innerProduct, name: …, outputs: ${classes}}`;
    wrong([], `the last layer gives an image of ${shapeText(shape)}: add a layer such as ${end}`);
  } else if (shape[0] !== classes) {
    wrong([last, 'outputs'], `expected ${classes}, the classes of ${data}, found ${shape[0]}`);
  }
  if (batch !== undefined && batch * values > MAX_BATCH_VALUES) {
    const most = Math.floor(MAX_BATCH_VALUES / values);
    const message = `expected at most ${most}, as the network has ${values} values for each image, found ${batch}`;
    problems.push({ path: ['training', 'batch'], at: 'value', message });
  }
  return problems;
}

function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
