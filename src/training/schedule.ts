/** Learning rate schedules, with Caffe's names. */
export type LearningRate =
  | { policy: 'fixed'; base: number }
  | { policy: 'inv'; base: number; gamma: number; power: number }
  | { policy: 'step'; base: number; factor: number; at: number[] };

/** The learning rate at iteration t, counted from 0. */
export function learningRateAt(schedule: LearningRate, t: number): number {
  switch (schedule.policy) {
    case 'fixed':
      return schedule.base;
    case 'inv':
      return schedule.base * (1 + schedule.gamma * t) ** -schedule.power;
    case 'step':
      return schedule.base * schedule.factor ** schedule.at.filter((step) => t >= step).length;
  }
}
