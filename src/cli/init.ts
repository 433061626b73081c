import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { CommandModule } from 'yargs';
import { UserError } from '../base/errors.js';
import { isFolder, writeFileAtomic } from '../base/files.js';
import { nearest, shellWord } from '../base/text.js';
import { builtInFile, builtInNames, builtInText } from '../config/builtIn.js';
import { commandOf } from './configs.js';
import { flag, textOption } from './options.js';

interface InitArguments {
  file?: string;
  example?: string;
  force: boolean;
  stdout: boolean;
}

export const initCommand: CommandModule<object, InitArguments> = {
  builder: (yargs) =>
    yargs
      .positional('file', {
        type: 'string',
        describe: 'where to write it (default: bang.yaml, or after the example)',
      })
      .options(
        textOption(
          'example',
          'copy a configuration that comes with the program: a name of bang configs',
        ),
      )
      .option('force', flag('overwrite the file'))
      .option('stdout', flag('print it, write nothing'))
      .example('$0 init', 'write bang.yaml, ready for bang run bang.yaml')
      .example('$0 init experiments/first.yaml', 'write it elsewhere')
      .example('$0 init --example lenet-b1', 'write lenet-b1.yaml, a row of Table 1')
      .example('$0 init --example ci/lenet-b1', 'a check, with its baseline')
      .example('$0 init --stdout | less', 'only read it'),
  handler: ({ file: given, example, force, stdout }) => {
    const chosen = example === undefined ? STARTING : exampleNamed(example);
    const { text, name, beside, command } = given === undefined ? chosen : named(chosen, given);
    if (stdout) {
      process.stdout.write(text);
      return;
    }
    const file = given ?? name;
    const files = new Map([[file, text]]);
    for (const [other, content] of beside) files.set(path.join(path.dirname(file), other), content);
    for (const one of files.keys()) {
      if (/[\\/]$/.test(one) || isFolder(one)) {
        const inside = path.join(one, name);
        throw new UserError(`${one} is a folder: name a file, such as ${inside}`);
      }
      if (force || !existsSync(one)) continue;
      throw new UserError(`${one} exists already; --force overwrites it`);
    }
    for (const [one, content] of files) writeFileAtomic(one, content);
    const names = [...files.keys()].join(' and ');
    process.stdout.write(`wrote ${names}; run it with: bang ${command} ${shellWord(file)}\n`);
  },
};

/** A configuration to write. */
interface Example {
  text: string;
  /** The file's name, if none is given. */
  name: string;
  /** The files that it needs beside it. */
  beside: ReadonlyMap<string, string>;
  /** The command that runs it. */
  command: string;
}

/** The example with a baseline of its own, and its file's name as its name, so that two copies share neither. */
function named(example: Example, file: string): Example {
  if (path.parse(file).name === path.parse(example.name).name) return example;
  const { text, beside } = example;
  const baseline = `${path.parse(file).name}.baseline.json`;
  return {
    ...example,
    text: text
      .replace(/^name: \S+\n/m, '')
      .replace(/^( {2}baseline: )\S+/m, (_, key: string) => key + JSON.stringify(baseline)),
    beside: new Map([...beside.values()].map((content) => [baseline, content])),
  };
}

/** @throws UserError if no configuration of this name comes with the program */
function exampleNamed(name: string): Example {
  const file = builtInFile(name);
  if (file === undefined) {
    const near = nearest(name, builtInNames());
    const hint = near === undefined ? 'bang configs lists the names' : `did you mean ${near}?`;
    throw new UserError(`--example ${name}: no such configuration comes with the program, ${hint}`);
  }
  const text = copyOf(name);
  const baseline = /^ {2}baseline: (\S+)/m.exec(text)?.[1];
  const beside = new Map<string, string>();
  if (baseline !== undefined) {
    beside.set(baseline, readFileSync(path.join(path.dirname(file), baseline), 'utf8'));
  }
  return { text, name: path.basename(file), beside, command: commandOf(name) };
}

/**
 * The text of a configuration for another folder: other configurations are named, not found by their paths,
 * and the line for editors, whose schema stays behind, is left out.
 */
function copyOf(name: string): string {
  return builtInText(name)
    .replace(/^# yaml-language-server: .*\n/, '')
    .replace(
      /^((?:extends|base|regular|bang): )(\S+)\.yaml$/gm,
      (_, key: string, other: string) => {
        return key + path.posix.join(path.posix.dirname(name), other);
      },
    );
}

/** What `bang init` writes without an example: row B1 of Table 1, complete in one file. */
export const startingConfig = `# An experiment of bang: train a network, attack it, report.
# It trains LeNet as in row B1 of the paper's Table 1 (arXiv 1612.00138).
#
# Check it:   bang validate THIS-FILE
# Run it:     bang run THIS-FILE
# Change it for one run:   bang run THIS-FILE --set training.bang.beta=1.2
#
# Editors complete the keys after  bang schema > bang.schema.json  if this file begins with
#   "# yaml-language-server: $schema=bang.schema.json"

# extends: base.yaml       # another file, relative to this one, or a name that bang configs lists: its
#                          # keys apply where this one has none; a key set to null here is dropped

# name: my-lenet           # names the run and its folder: letters, digits, '.', '_' and '-';
#                          # left out: the name of this file
description: LeNet on MNIST with BANG   # a sentence for people; optional

model: lenet               # the network: lenet, cifar10-quick, or one of your own, such as
# model:
#   scale: 1/256           # factor on the pixels, which are 0 to 255: above 0; left out: 1
#   subtractMean: false    # whether the mean training image is subtracted from them first
#   layers:                # from the image to one output for each class; names are up to you
#     - {kind: conv, name: conv1, filters: 16, size: 3, pad: 1}     # pad left out: 0
#     - {kind: maxPool, size: 2, stride: 2, rounding: up}           # a last window that is not whole counts; or down
#     - {kind: avgPool, size: 3, stride: 1, pad: 1, countPad: false} # whether the padding counts in the means
#     - {kind: relu}
#     - {kind: innerProduct, name: ip1, outputs: 64, filler: {kind: gaussian, std: 0.1}}
#     - {kind: dropout, rate: 0.5}                                  # 0 to below 1
#     - {kind: innerProduct, name: ip2, outputs: 10}                # filler left out: {kind: xavier}
data: mnist                # the images: mnist for lenet, cifar10 for cifar10-quick
seed: 1                    # initial weights, dropout, split, order: an integer from 0 to 4294967295
# seeds: [1, 2, 3]         # instead of seed: a run for each, and a table of their means
engine: auto               # auto (the best there is), webgpu, tensorflow, native, wasm, cpu (slow)

training:
  # from: runs/lenet-r0    # weights to begin with: a file, relative to this one, or the folder of a run;
                           # left out: random ones
  # from: {weights: runs/lenet-r0, sha256: 64-DIGITS}   # the same, but other weights there are refused
  trainOn: 50k             # 50k (the rest is for validation) or 60k
  split: random            # which 50k: the first of the files, or random, a choice that depends on the seed
  iterations: 10000        # how many batches: 1 or more
  batch: 64                # images in a batch: 1 or more
  # The learning rate at iteration t = 0, 1, …; biases learn at twice this rate. One of
  #   {policy: inv, base: 0.01, gamma: 0.0001, power: 0.75}         base · (1 + gamma·t)^−power
  #   {policy: step, base: 0.001, factor: 0.1, at: [18000, 19000]}  times factor at each of these
  #   {policy: fixed, base: 0.01}                                   always base
  learningRate: {policy: inv, base: 0.01, gamma: 0.0001, power: 0.75}
  momentum: 0.9            # 0 to below 1
  weightDecay: 0.0005      # L2 decay of weights and biases: 0 or more
  shuffle: once            # false, the order of the files; once, a random order that all epochs share; true, a new one
                           # for every epoch; Table 1: once, Table 2: false
  # augment:               # how training images are changed, anew at each use; left out: not at all
  #   noise: 20            # standard deviation of Gaussian noise, in grey levels: above 0
  # adversarial:           # trains on adversarial images in place of the others; left out: not at all
  #   epsilon: 77          # the largest change of a pixel, in grey levels: above 0, at most 255
  #   steps: 1             # 1: FGS; more: PGD from a random start
  # labelSmoothing: 0.1    # the share of each label that is spread over all classes: between 0 and 1
  logEvery: 500            # iterations between two lines of the training log: 1 or more
  checkpointEvery: 1000    # iterations between two checkpoints: 1 or more
  # snapshots: 500         # iterations between two snapshots of the network, which are kept; left out: none
  # Batch Adjusted Network Gradients. Leave out the whole block, or set beta to 0, for regular
  # training. beta and epsilon are one number, or one for each layer that has weights:
  #   beta: {conv1: 1, conv2: 1, ip1: 1.2, ip2: 1}
  bang:
    beta: 1.0              # factor on the gradients of the weights: 0 or more; the paper: 1 to 1.6
    epsilon: 0.815         # how far small gradients in a batch are balanced towards the largest:
                           # 0 or more; the paper: 0.78 to 0.84; or adaptive, chosen for each batch
    ratio: 1               # factor on epsilon for misclassified images: 0 to 1

evaluation:                # optional, as is each of its keys
  images: all              # all, or the number of test images, from the first, such as 1000
  # fgs            fast gradient sign, as in the paper
  # fgs-unmasked   the same along a gradient that never underflows to zero: what fgs hides
  # hc1            hot/cold with the closest class, as in the paper
  # Slower and stronger, with robust accuracy in the results:
  # apgd           Auto-PGD, which sets its own step lengths and leads to other classes: the strongest
  # deepfool-l2, deepfool-linf   to the nearest boundary of the linearised network
  # square         random search without gradients
  # auto           the accuracy within budgets that the strongest attacks leave, one after the other
  # (pgd is weaker than apgd, and there for older configurations, as are its keys:
  # pgd: {steps: 40, restarts: 2})
  attacks: [fgs, fgs-unmasked, hc1]
  # budgets: [8/255, 0.3, 16]   # budgets for robust accuracy, in L∞, or {linf: [16], l2: [2/1]}: below 1
  #                        # and as fractions of the range 0 to 255, from 1 on in grey levels
  # apgd:                  # how hard apgd and auto try, if one is among the attacks
  #   steps: 150           # gradient steps of each run: 1 or more
  #   restarts: 2          # random starts towards other classes and with the log-odds: 0 or more
  # square:                # the same for square and auto
  #   queries: 1000        # forward passes for each image: 1 or more
  protocol: paper          # paper: attacks as for the published rows; corrected: as intended
  # search: scan           # left out: as the protocol has it; bisection (paper), or scan, which tries
  #                        # every step and is slower (corrected)
  # channels: kept         # left out: as the protocol has it, and kept for networks of your own; reversed
  #                        # (paper) or kept (corrected): the colour channels of the direction of fgs and hc1
  # logitScale: 6.5        # multiplies the last layer's weights before anything is measured: 0.000001 to 1000000; left out: 1
  # noise: {sigma: 100, copies: 100}  # counts the noisy copies of each image that are misclassified: σ above 0, in
  #                        # grey levels, copies 1 to 1000000; left out: none
  pass: true               # whether to compute PASS, the perceptual similarity: true or false

# The paper's row to compare with: table 1, row R0, R1 or B0 to B5. Optional.
published: {table: 1, row: B1}

# The bands in which  bang check THIS-FILE  requires the numbers to be; ignored by bang run.
# expect:
#   baseline: lenet.baseline.json   # relative to this file; bang check --update-baseline writes it
#   accuracy: {min: 98.5}           # percent; at least, and at most:
#   fgs_rate: {max: 5}              # of any attack: fgs, fgs_unmasked, hc1, pgd, apgd,
#                                   # deepfool_l2, deepfool_linf, square
#   blank_rate: {min: 90, max: 100} # percent of the correctly classified with a blank gradient
#   robust_accuracy_linf_16: {min: 80}  # percent of all images, if evaluation.budgets has 16; robust_accuracy_l2_N, too
#   noise_rate: {max: 10}           # percent of the noisy copies, if evaluation.noise asks for them
#   hc1_linf_mean: {deviations: 5, margin: 2}   # around the baseline's mean: 5 of its standard
#                                   # deviations over seeds, or 2, whichever is wider
#   hc1_linf_std: {margin: 5}       # the deviation over images
#   hc1_pass_mean: {deviations: 5}  # PASS, too, but only for fgs and hc1:
#   hc1_pass_std: {deviations: 5}
#   hc1_aligned_rate: {min: 90}     # percent of the pairs that could be aligned
`;

const STARTING: Example = {
  text: startingConfig,
  name: 'bang.yaml',
  beside: new Map(),
  command: 'run',
};
