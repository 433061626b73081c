import type { AttackName } from '../../../attacks/attack.js';
import { ATTACKS } from '../../../attacks/attacks.js';
import { printable } from '../../../base/text.js';
import type { FoundSweep, UnfinishedRun } from '../contents.js';
import { duration } from '../../../base/progress.js';
import { html } from '../html.js';
import { prose } from '../prose.js';
import { list, type Section } from '../section.js';
import { progressText } from '../../../sweep/summary.js';

/** Runs without a result, and sweeps that are running. */
export function unfinishedSection(
  unfinished: readonly UnfinishedRun[],
  sweeps: readonly FoundSweep[],
): Section | undefined {
  const running = sweeps.filter((sweep) => sweep.running);
  if (unfinished.length + running.length === 0) return undefined;
  const runs = [...running.flatMap(({ atWork }) => atWork), ...unfinished].map((run) => {
    const { folder, name, iterations, last } = run;
    const bar =
      last &&
      iterations !== undefined &&
      html`<progress
        max="${iterations}"
        value="${last.iteration}"
        aria-label="Iterations of ${name ?? folder}"
      ></progress> `;
    return html`${bar}<b>${printable(name ?? folder)}</b> ${stateOf(run)}
      <small>${printable(folder)}</small>`;
  });
  const others = running.map(({ name, cells, left }) => {
    const done = cells.filter(({ state }) => state === 'done').length;
    return html`<progress
        max="${cells.length}"
        value="${done}"
        aria-label="Cells of ${name}"
      ></progress>
      <b>${printable(name)}</b> sweep: ${progressText(cells)}${leftText(left)}`;
  });
  return { id: 'at-work', title: 'Not finished', body: list([...others, ...runs]) };
}

function leftText(left: number | undefined): string {
  return left === undefined ? '' : `, about ${prose(duration(left))} left`;
}

function stateOf({ iterations, last, isTrained, attacks, left }: UnfinishedRun): string {
  if (isTrained) {
    const done = attacks.flatMap((name) =>
      Object.hasOwn(ATTACKS, name) ? ATTACKS[name as AttackName].title : [],
    );
    return `is trained; finished attacks: ${done.length === 0 ? 'none yet' : done.join(', ')}`;
  }
  if (!last) return 'has begun';
  const of = iterations === undefined ? '' : ` of ${iterations}`;
  const validation =
    last.validation === undefined ? '' : `, validation accuracy ${last.validation} %`;
  return `iteration ${last.iteration}${of}, loss ${last.loss.toPrecision(3)}${validation}${leftText(left)}`;
}
