/**
 * Repeats something for some time, at least three times, and gives way to other work in between.
 *
 * @returns the seconds of each repetition
 */
export async function timesOf(work: () => void, milliseconds: number): Promise<number[]> {
  const times: number[] = [];
  const begun = performance.now();
  while (times.length < 3 || performance.now() - begun < milliseconds) {
    const start = performance.now();
    work();
    times.push((performance.now() - start) / 1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return times;
}
