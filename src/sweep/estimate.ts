import { tf } from '../base/tf.js';
import { timesOf } from '../base/timing.js';
import { type Attack, attacksIn, AUTO, effortOf } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import { passesOfAuto } from '../attacks/auto.js';
import { startEngine } from '../engine/engine.js';
import { type Config, isBang, networkOf } from '../config/experiment.js';
import { logitsOf, makeNetwork } from '../model/network.js';
import { disposeWeights, zeroWeights } from '../model/parameters.js';
import { trainingSettings } from '../experiment/training.js';
import { augmentation } from '../training/augment.js';
import { initialState, trainingStep } from '../training/train.js';

/** Rough seconds for a pair of images on one thread; their size matters little. */
const PASS_SECONDS = 0.001;
/** About half of the 255 or 350 scales of the exhaustive search are tried before one succeeds. */
const SCAN_ROUNDS = 130;
/** For starting the process, reading the data and writing the files. */
const START_SECONDS = 2;
const TEST_IMAGES = 10_000;

/**
 * Estimates how long cells will take before any is finished: times a training step and a forward pass on
 * images of noise for each kind of network.
 *
 * @param threads threads of each process; the estimate assumes that no other process is running
 * @returns seconds for each config
 * @throws UserError if an engine cannot be started
 */
export async function estimateSeconds(
  configs: readonly Config[],
  threads: number,
): Promise<number[]> {
  const measured = new Map<string, Promise<Unit>>();
  const seconds: number[] = [];
  for (const config of configs) {
    const { model, data, engine, training, evaluation } = config;
    const { batch, adversarial, augment, labelSmoothing } = training;
    const also = [adversarial?.steps, augment !== undefined, labelSmoothing !== undefined];
    const key = JSON.stringify([model, data, engine, batch, isBang(config), ...also]);
    if (!measured.has(key)) measured.set(key, measure(config, threads));
    const { step, forward } = await measured.get(key)!;
    const images = evaluation.images === 'all' ? TEST_IMAGES : evaluation.images;
    const attacks = attacksIn(evaluation.attacks);
    const within = evaluation.attacks.includes(AUTO) ? passesOfAuto(effortOf(evaluation)) : 0;
    const rounds = attacks.reduce(
      (sum, name) => sum + roundsOf(ATTACKS[name], evaluation),
      1 + within + (evaluation.noise?.copies ?? 0),
    );
    const pairs = evaluation.pass
      ? attacks.filter((name) => ATTACKS[name].published).length * images
      : 0;
    seconds.push(
      START_SECONDS +
        training.iterations * step +
        images * rounds * forward +
        (pairs * PASS_SECONDS) / threads,
    );
  }
  return seconds;
}

/** Forward passes for each image. On a line: half of the doublings to the limit and halvings to the width. */
function roundsOf(attack: Attack, evaluation: Config['evaluation']): number {
  if (attack.kind !== 'line') {
    return attack.passes(effortOf(evaluation));
  }
  if (evaluation.search === 'scan') return SCAN_ROUNDS;
  const { limit, width } = attack.bisection;
  return (Math.log2(limit) + Math.log2(limit / width)) / 2 + 3;
}

interface Unit {
  /** Seconds of a training step. */
  step: number;
  /** Seconds of the forward pass of one image. */
  forward: number;
}

async function measure(config: Config, threads: number): Promise<Unit> {
  await startEngine({ engine: config.engine, threads });
  const { seed } = config;
  const spec = networkOf(config);
  const { classes } = spec;
  const [height, width, channels] = spec.input;
  const mean = tf.zeros<tf.Rank.R3>([height, width, channels]);
  const network = { ...makeNetwork(spec), mean };
  const state = initialState(network, seed);
  const { weights, velocities } = state;
  const gradients = zeroWeights(network);
  const settings = trainingSettings(config);
  const { batch } = settings;
  const augment = augmentation(settings.augment, seed);
  const positions = Uint32Array.from({ length: batch }, (_, i) => i);
  const pixels = tf.randomUniform<tf.Rank.R4>([batch, height, width, channels], 0, 255);
  const labels = tf.tensor1d(
    Array.from({ length: batch }, (_, i) => i % classes),
    'int32',
  );
  const step = await time(() => {
    const images = augment({ pixels, labels }, positions, 0);
    // Rate 0: training on noise would soon make the weights infinite.
    const how = { rate: 0, gradients };
    trainingStep(network, settings, seed, images, state, how).loss.dataSync();
  });
  const forward = await time(() => logitsOf(network, weights, pixels).dataSync());
  for (const some of [weights, velocities, gradients]) disposeWeights(some);
  tf.dispose([pixels, labels, mean]);
  return { step, forward: forward / batch };
}

/** The shortest of at least three repetitions in half a second, since other processes only add time. */
async function time(work: () => void): Promise<number> {
  tf.tidy(work);
  const times = await timesOf(() => {
    tf.tidy(work);
  }, 500);
  return Math.min(...times);
}
