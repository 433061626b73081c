import { eta } from './eta.js';
import { examples } from './examples.js';
import { linf } from './linf.js';
import { noise } from './noise.js';
import { surfaces } from './surfaces.js';
import { training } from './training.js';

/** Every figure by its name. */
export const FIGURE_KINDS = { examples, surfaces, noise, training, eta, linf };

export type FigureKindName = keyof typeof FIGURE_KINDS;
export const FIGURE_KIND_NAMES = Object.keys(FIGURE_KINDS) as FigureKindName[];
