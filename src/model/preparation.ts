/** How pixels, 0 to 255, are prepared: (scale · pixel − mean) / std, mean and std by channel. */
export interface Preparation {
  /** Above 0. */
  scale: number;
  mean?: number[];
  std?: number[];
}

/** What `first` and then x ↦ factor · x + shift do, factor and shift by channel. */
export function thenAffine(
  first: Preparation,
  { factor, shift }: { factor: number[]; shift: number[] },
): Preparation {
  const isPlain = !first.mean && !first.std && shift.every((one) => one === 0);
  if (isPlain && factor[0] > 0 && factor.every((one) => one === factor[0])) {
    return { scale: first.scale * factor[0] };
  }
  const std = factor.map((one, c) => (first.std?.[c] ?? 1) / one);
  const mean = shift.map((one, c) => (first.mean?.[c] ?? 0) - one * std[c]);
  return simplified({ scale: first.scale, mean, std });
}

/** What `first` and then `second` do to a pixel. */
export function chained(first: Preparation, second: Preparation, channels: number): Preparation {
  const by = (value: (c: number) => number): number[] =>
    Array.from({ length: channels }, (_, c) => value(c));
  const std = (c: number): number => second.std?.[c] ?? 1;
  return thenAffine(first, {
    factor: by((c) => second.scale / std(c)),
    shift: by((c) => -(second.mean?.[c] ?? 0) / std(c)),
  });
}

/** Without what changes nothing. */
export function simplified({ scale, mean, std }: Preparation): Preparation {
  return {
    scale,
    ...(mean?.some((value) => value !== 0) && { mean }),
    ...(std?.some((value) => value !== 1) && { std }),
  };
}
