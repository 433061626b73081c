import { describe, expect, it } from 'vitest';
import { BALLS } from '#bang/attacks/ball.js';
import { makeRandom } from '#bang/base/random.js';

describe.each(['linf', 'l2'] as const)('the ball in %s', (norm) => {
  it('holds what is drawn, projected, stepped to and rounded', () => {
    const ball = BALLS[norm];
    for (let i = 0; i < 300; i++) {
      const random = makeRandom(3, `ball ${norm}`, i);
      const size = 1 + Math.floor(60 * random.uniform());
      const budget = norm === 'linf' ? 1 + (i % 60) : 1 + 200 * random.uniform();
      const image = Uint8Array.from({ length: size }, () => 256 * random.uniform());
      const values = (scale: number) =>
        Float32Array.from({ length: size }, () => scale * random.gaussian());
      const point = values(100);
      const isIn = (slack: number) => {
        const changes = Array.from(point, (value, p) => Math.abs(value - image[p]));
        const length = norm === 'linf' ? Math.max(...changes) : Math.hypot(...changes);
        expect(length).toBeLessThanOrEqual(budget + slack);
        expect(point.every((value) => value >= 0 && value <= 255)).toBe(true);
      };
      ball.project(point, image, budget);
      isIn(1e-3);
      const before = point.slice();
      ball.step(point, point.slice(), values(1), image, budget, 2 * budget, i % 2 ? 0.25 : 0);
      isIn(1e-3);
      ball.draw(before, image, budget, random);
      ball.step(point, before, values(0), image, budget, budget, 0.25);
      isIn(1e-3);
      const exact = point.slice();
      ball.round(point, image, budget);
      isIn(0);
      expect(point.every(Number.isInteger)).toBe(true);
      expect(point.every((value, p) => Math.abs(value - exact[p]) <= 1.001)).toBe(true);
    }
  });
});
