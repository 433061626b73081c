import { eta } from './eta.js';
import { linf } from './linf.js';
import { noise } from './noise.js';
import { surfaces } from './surfaces.js';
import { training } from './training.js';

/** Every figure by its name. */
export const FIGURE_KINDS = { surfaces, noise, training, eta, linf };

export type FigureKindName = keyof typeof FIGURE_KINDS;
export const FIGURE_KIND_NAMES = Object.keys(FIGURE_KINDS) as FigureKindName[];
