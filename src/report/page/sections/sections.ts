import { printable } from '../../../base/text.js';
import { type Namesake, namesApart } from '../../../store/labels.js';
import type { CollectedPart } from '../../../store/collect.js';
import type { Collected, FoundStudy } from '../contents.js';
import type { Galleries } from '../../../experiment/galleries.js';
import { compareSection } from './compareSection.js';
import { glossarySection } from './glossarySection.js';
import { gallerySection } from './gallerySection.js';
import { noiseSection } from './noiseSection.js';
import type { Plots } from '../plots.js';
import { provenanceSection } from './provenanceSection.js';
import { robustnessSection } from './robustnessSection.js';
import { idsOf, list, type Section, slug } from '../section.js';
import { sweepSection } from './sweepSection.js';
import { tableSection } from './tableSection.js';
import { transferSection } from './transferSection.js';
import { unfinishedSection } from './unfinishedSection.js';
import { verdictOf } from '../../verdict.js';
import { verdictSection } from './verdictSection.js';

export interface PageContent {
  collected: Collected;
  /** Undefined if none were asked for. */
  galleries?: Galleries;
  plots: Plots;
}

/** The sections of a page, in order. */
export function sectionsOf({ collected, galleries, plots }: PageContent): Section[] {
  const { parts, sweeps, studies, transfers, unfinished, notes } = collected;
  const sweepIds = idsOf(
    'sweep',
    sweeps.map(({ name }) => name),
  );
  const studyIds = idsOf(
    'noise',
    studies.map(({ result }) => result.name),
  );
  const sweepTitles = namesApart(sweeps).map((name) => `Sweep ${name}`);
  const studyTitles = namesApart(studies.map(studyIdentity)).map((name) => `Noise study ${name}`);
  const robustness = robustnessSection(parts);
  const gallery = galleries && parts.length > 0 ? gallerySection(galleries) : undefined;
  const isAside = (part: CollectedPart): boolean => !ofPaper(part) && parts.some(ofPaper);
  const verdict = verdictSection({
    tables: parts.flatMap((part) => {
      const found = isAside(part) ? undefined : verdictOf(part);
      return found ? [{ verdict: found, id: slug(part.title) }] : [];
    }),
    sweeps: sweeps.map((of, i) => ({ of, id: sweepIds[i], title: sweepTitles[i] })),
    studies: studies.map((of, i) => ({ of, id: studyIds[i], title: studyTitles[i] })),
    more: [robustness, gallery].flatMap((section) => section ?? []),
  });
  const all = [
    verdict,
    unfinishedSection(unfinished, sweeps),
    robustness,
    ...parts.map((part) =>
      tableSection(
        part,
        plots.of.get(part.title) ?? [],
        plots.ofOthers.get(part.title) ?? [],
        isAside(part),
      ),
    ),
    gallery,
    compareSection(parts),
    ...sweeps.map((sweep, i) => {
      const drawn = plots.of.get(sweep.folder) ?? [];
      // A finished one without a figure is not for the first reading, where there is more to read.
      const isFolded = drawn.length === 0 && !sweep.running && parts.length + sweeps.length > 1;
      return sweepSection(sweepIds[i], sweepTitles[i], sweep, drawn, isFolded);
    }),
    ...studies.map((study, i) =>
      noiseSection(studyIds[i], studyTitles[i], study, plots.of.get(study.folder)),
    ),
    transferSection(transfers),
    provenanceSection(parts),
    leftOutSection([...notes, ...plots.notes, ...(galleries?.notes ?? [])]),
  ];
  const sections = all.flatMap((section) => section ?? []);
  return sections.length === 0 ? [] : [...sections, glossarySection()];
}

/** All that a study's numbers depend on. */
function studyIdentity({ folder, result: { name, config, data } }: FoundStudy): Namesake {
  return { name, folder, identity: { ...config, data: data.sha256.slice(0, 12) } };
}

function leftOutSection(notes: readonly string[]): Section | undefined {
  if (notes.length === 0) return undefined;
  return { id: 'left-out', title: 'Left out', body: list(notes.map(printable)) };
}

/** Whether a part has rows of the paper's tables. */
function ofPaper({ entries }: CollectedPart): boolean {
  return entries.some(({ published }) => published);
}
