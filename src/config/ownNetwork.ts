import { z } from 'zod';
import { productOf } from '../base/sums.js';
import { shapeText } from '../base/text.js';
import { type ImageShape, MOST_CLASSES, shapeOf } from '../data/shapes.js';
import type { DataName } from '../data/sources.js';
import {
  countParameters,
  IMAGE,
  isWeighted,
  ShapeError,
  type LayerSpec,
  type Shape,
} from '../model/layers.js';
import { connected } from '../model/network.js';
import { FRACTION } from './budgets.js';
import { fromZeroToBelowOne, integer, mapping, oneOf, positive, trueOrFalse } from './fields.js';
import { type KeyPath, type Problem, wrong } from './problems.js';

/** Bounds that are ample for these images and safe for any machine. */
const MAX_LAYERS = 200;
const MAX_PARAMETERS = 2 ** 24;
/** Outputs of all layers for one image, and for a batch in training. */
const MAX_VALUES = 2 ** 19;
const MAX_BATCH_VALUES = 2 ** 28;

/** A layer's name is also a column of the training log, a key in a config and part of a tensor's name. */
const layerName = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;
const layerNameInWords = "a name of letters, digits and '_' that begins with a letter";
/** Files use the first two for other purposes, and layers the third; the rest are properties of every JavaScript object. */
const isReserved = (name: string): boolean =>
  ['mean', 'velocity', IMAGE].includes(name) || name in {};

function name() {
  return z
    .string({ error: layerNameInWords })
    .regex(layerName, { error: layerNameInWords, abort: true })
    .refine((value) => !isReserved(value), { error: 'a name that is not reserved' })
    .describe('Names the layer, in beta, epsilon, the training log and files of weights.');
}

/** Keys that every layer may have. */
const output = () => name().optional().describe('Names the output, for from and with.');
const connections = {
  from: z
    .string({ error: 'the name of a layer' })
    .optional()
    .describe(
      'The layer whose output it takes, or image; left out: the layer before it in the list.',
    ),
};
const tensors = {
  weights: z
    .string({ error: 'a text' })
    .optional()
    .describe(
      'What its tensors are called in a file of another program, before .weight and .bias; only for bang eval --model.',
    ),
};

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
      mapping({
        kind: z
          .literal('he')
          .describe('Normal with mean 0 and standard deviation sqrt(2 / inputs of one output).'),
        factor: positive().optional().describe('A factor on it; left out: 1.'),
      }),
      mapping({ kind: z.literal('zero').describe('Zeros.') }),
    ],
    {
      error: (issue: z.core.$ZodRawIssue) =>
        issue.code === 'invalid_union'
          ? 'xavier, gaussian, he or zero'
          : 'a mapping such as {kind: xavier}',
    },
  )
  .default(() => ({ kind: 'xavier' as const }))
  .describe('How the weights are initialized; left out: xavier. Biases start at 0.');

const sidesInWords = 'an integer from 0 to 63, or a list of four: above, left, below, right';
const side = z
  .int({ error: sidesInWords })
  .min(0, { error: sidesInWords })
  .max(63, { error: sidesInWords });
const sides = z.union([side, z.tuple([side, side, side, side], { error: sidesInWords })], {
  error: sidesInWords,
});

function pool<const K extends 'maxPool' | 'avgPool'>(kind: K, what: string) {
  return {
    kind: z.literal(kind).describe(what),
    name: output(),
    size: integer(1, 64).describe('Height and width of the window, in pixels.'),
    stride: integer(1, 64).describe('Pixels from one window to the next.'),
    pad: sides.optional().describe('Pixels around the image; left out: none.'),
    rounding: oneOf(['up', 'down'])
      .optional()
      .describe(
        "Whether a last window that is not whole counts: up, as in Caffe (left out: this), or down, PyTorch's default.",
      ),
    ...connections,
  };
}

const layerSchema = z.discriminatedUnion(
  'kind',
  [
    mapping({
      kind: z.literal('conv').describe('A convolution.'),
      name: name(),
      filters: integer(1, 1024).describe('How many filters: the channels of the output.'),
      size: integer(1, 64).describe('Height and width of the filters, in pixels.'),
      stride: integer(1, 64)
        .optional()
        .describe('Pixels from one filter position to the next; left out: 1.'),
      pad: sides.default(0).describe('Zeros around the image, in pixels.'),
      filler: fillerSchema,
      ...connections,
      ...tensors,
    }),
    mapping(
      pool('maxPool', 'The largest value of each window; windows at the border are clipped.'),
    ),
    mapping({
      ...pool('avgPool', 'The mean of each window; windows at the border are clipped.'),
      countPad: trueOrFalse
        .optional()
        .describe('Whether padding counts as zeros in the means; left out: false.'),
    }),
    mapping({
      kind: z.literal('globalAvgPool').describe('The mean of each channel.'),
      name: output(),
      ...connections,
    }),
    mapping({
      kind: z.literal('innerProduct').describe('A fully connected layer; its output is a vector.'),
      name: name(),
      outputs: integer(1, 4096).describe(
        'How many outputs; in the last such layer, one for each class.',
      ),
      filler: fillerSchema,
      ...connections,
      ...tensors,
    }),
    mapping({
      kind: z.literal('relu').describe('The larger of the value and 0.'),
      name: output(),
      ...connections,
    }),
    mapping({
      kind: z.literal('add').describe('Adds the output of an earlier layer, as a residual.'),
      name: output(),
      with: z
        .string({ error: 'the name of a layer' })
        .describe('The layer whose output is added, or image.'),
      ...connections,
    }),
    mapping({
      kind: z.literal('dropout').describe('Sets random values to 0 in training.'),
      name: output(),
      rate: fromZeroToBelowOne().describe('The share of values that are set to 0: 0 to below 1.'),
      ...connections,
    }),
    mapping({
      kind: z
        .literal('batchNorm')
        .describe('Batch normalization of weights from elsewhere; only for bang eval --model.'),
      name: name(),
      epsilon: positive().optional().describe('What is added to the variance; left out: 1e-5.'),
      ...tensors,
    }),
  ],
  {
    error: (issue: z.core.$ZodRawIssue) =>
      issue.code === 'invalid_union'
        ? 'conv, maxPool, avgPool, globalAvgPool, innerProduct, relu, add, dropout or batchNorm'
        : 'a layer such as {kind: relu}',
  },
);

const layersInWords = `a list of 1 to ${MAX_LAYERS} layers`;

const oneOrThree = z.literal([1, 3], { error: '1 or 3' });

function byChannel<T extends z.ZodType>(number: T, error: string) {
  return z.array(number, { error }).min(1, { error }).max(3, { error });
}

const scaleInWords = 'a number above 0, or a fraction such as 1/255';

function numberOf(written: number | string): number {
  const [, above, below] = FRACTION.exec(String(written)) ?? ['', String(written), '1'];
  return Number(above) / Number(below);
}

/** A network of the user's own. */
export const ownNetworkSchema = mapping({
  scale: z
    .union([z.number(), z.string().regex(FRACTION, { error: scaleInWords })], {
      error: scaleInWords,
    })
    .transform(numberOf)
    .refine((scale) => scale > 0 && Number.isFinite(scale), { error: scaleInWords })
    .default(1)
    .describe('Factor on the pixels (0 to 255), above 0, such as 1/255; left out: 1.'),
  subtractMean: trueOrFalse
    .default(false)
    .describe('Whether the mean training image is subtracted from the pixels.'),
  mean: byChannel(z.number({ error: 'a number' }), 'a list with a number for each channel')
    .optional()
    .describe('By channel: subtracted from the scaled pixels, as in PyTorch; left out: nothing.'),
  std: byChannel(
    z.number({ error: 'a number' }).refine((value) => value !== 0, { error: 'a number, not 0' }),
    'a list with a number, not 0, for each channel',
  )
    .optional()
    .describe('By channel: what the result is divided by; left out: 1.'),
  image: z
    .tuple([integer(1, 256), integer(1, 256), oneOrThree], {
      error: 'a list of height, width and channels',
    })
    .optional()
    .describe('Height, width and channels of an image; needed only with data: idx.'),
  classes: integer(2, MOST_CLASSES)
    .optional()
    .describe('How many classes there are; needed only with data: idx.'),
  layers: z
    .array(layerSchema, { error: layersInWords })
    .min(1, { error: layersInWords })
    .max(MAX_LAYERS, { error: layersInWords })
    .describe('The layers, from the image to one output for each class.'),
});

export type OwnNetwork = z.output<typeof ownNetworkSchema>;

/** The names of the layers with weights, from the image to the logits. */
export function weightedLayersOf(layers: readonly LayerSpec[]): string[] {
  return layers.flatMap((layer) =>
    layer.kind === 'conv' || layer.kind === 'innerProduct' ? [layer.name] : [],
  );
}

/**
 * Problems of layers that are valid one by one: equal names, shapes that do not fit, networks that are
 * too large.
 *
 * @param data undefined if the config does not give it correctly: then shapes are not checked
 * @param batch images in a batch, or undefined in the same way
 */
export function problemsOfNetwork(
  network: OwnNetwork,
  { data, batch }: { data: DataName | undefined; batch: number | undefined },
): Problem[] {
  const problems = problemsOfNames(network.layers);
  if (data === undefined) return problems;
  const images = imagesOf(network, data);
  if (images === undefined) {
    const path = ['model', network.image === undefined ? 'image' : 'classes'];
    const message = 'missing, expected what the images of data: idx are like';
    return [...problems, wrong(path, message, 'missing')];
  }
  return [
    ...problems,
    ...problemsOfImages(network, images, data),
    ...problemsOfShapes(network.layers, images, data, batch),
  ];
}

function wrongLayer(path: KeyPath, message: string): Problem {
  return wrong(['model', 'layers', ...path], message);
}

function problemsOfNames(layers: OwnNetwork['layers']): Problem[] {
  const problems: Problem[] = [];
  layers.forEach((layer, i) => {
    if ('weights' in layer && layer.weights !== undefined) {
      problems.push(wrongLayer([i, 'weights'], 'it has a meaning only for bang eval --model'));
    }
    if (layer.name === undefined) return;
    const first = layers.findIndex((other) => other.name === layer.name);
    if (first === i) return;
    problems.push(wrongLayer([i, 'name'], `layers[${first}] has this name already`));
  });
  return problems;
}

/** Problems of how pixels are prepared, and of shapes other than those of the data. */
function problemsOfImages(
  network: OwnNetwork,
  { height, width, channels, classes }: ImageShape,
  data: DataName,
): Problem[] {
  const problems: Problem[] = [];
  for (const key of ['mean', 'std'] as const) {
    const found = network[key];
    if (found === undefined) continue;
    if (network.subtractMean) {
      problems.push(wrong(['model', key], 'subtractMean is given too: leave out one of them'));
    } else if (found.length !== channels) {
      const message = `expected ${channels} numbers, one for each channel, found ${found.length}`;
      problems.push(wrong(['model', key], message));
    }
  }
  const known = shapeOf(data);
  const image = [height, width, channels];
  if (known && network.image && network.image.join() !== image.join()) {
    const message = `expected ${shapeText(image)}, the images of ${data}, found ${shapeText(network.image)}`;
    problems.push(wrong(['model', 'image'], message));
  }
  if (known && network.classes !== undefined && network.classes !== classes) {
    const message = `expected ${classes}, those of ${data}, found ${network.classes}`;
    problems.push(wrong(['model', 'classes'], message));
  }
  return problems;
}

/** Problems of the layers one after the other, and of what the last one gives. */
function problemsOfShapes(
  layers: OwnNetwork['layers'],
  { height, width, channels, classes }: ImageShape,
  data: DataName,
  batch: number | undefined,
): Problem[] {
  let shape: Shape = [height, width, channels];
  let [parameters, values] = [0, productOf(shape)];
  const taken = new Set<number>();
  let i = 0;
  try {
    for (const { layer, inputs } of connected(layers, shape)) {
      shape = layer.output;
      for (const input of inputs) taken.add(input!);
      values += productOf(shape);
      if (isWeighted(layer)) parameters += countParameters(layer);
      const grown =
        parameters > MAX_PARAMETERS
          ? `${parameters} parameters, expected at most ${MAX_PARAMETERS}`
          : `${values} values for each image, expected at most ${MAX_VALUES}`;
      if (parameters > MAX_PARAMETERS || values > MAX_VALUES) {
        return [wrongLayer([i], `with this layer the network has ${grown}`)];
      }
      i++;
    }
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    // If a layer does not fit, the shapes after it are unknown.
    return [wrongLayer([i, error.key], error.message)];
  }
  const problems: Problem[] = [];
  for (let l = 0; l < layers.length - 1; l++) {
    if (!taken.has(l)) problems.push(wrongLayer([l], 'no layer takes its output'));
  }
  const last = layers.findLastIndex(({ kind }) => kind === 'innerProduct');
  const outputs = shape.length === 3 && shape[0] * shape[1] === 1 ? shape[2] : shape[0];
  if (shape.length === 3 && shape[0] * shape[1] !== 1) {
    const end = `{kind: innerProduct, name: …, outputs: ${classes}}`;
    const gives = `the last layer gives an image of ${shapeText(shape)}`;
    problems.push(wrongLayer([], `${gives}: add a layer such as ${end}`));
  } else if (outputs !== classes) {
    const path = shape.length === 1 ? [last, 'outputs'] : [layers.length - 1];
    const message = `expected ${classes}, the classes of ${data}, found ${outputs}`;
    problems.push(wrongLayer(path, message));
  }
  if (batch !== undefined && batch * values > MAX_BATCH_VALUES) {
    const most = Math.floor(MAX_BATCH_VALUES / values);
    const message = `expected at most ${most}, as the network has ${values} values for each image, found ${batch}`;
    problems.push(wrong(['training', 'batch'], message));
  }
  return problems;
}

/** The shape of a network's images and its classes: those of the data, or, where these do not say, its own. */
export function imagesOf(
  { image, classes }: Pick<OwnNetwork, 'image' | 'classes'>,
  data: DataName,
): ImageShape | undefined {
  const known = shapeOf(data);
  if (known || !image || classes === undefined) return known;
  const [height, width, channels] = image;
  return { height, width, channels, classes };
}
