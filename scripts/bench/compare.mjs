// `npm run bench -- --compare BEFORE AFTER`: two files that --json has written, job by job.
import { readFileSync } from 'node:fs';
import { messageOf, UserError } from '#bang/base/errors.js';
import { printComparison } from './print.mjs';

/** @throws UserError if a file is not one of --json, or the two have no job in common */
export function compare([before, after]) {
  const [old, now] = [before, after].map(entriesIn);
  const rows = [];
  for (const entry of now) {
    const same = old.find(({ job }) => job === entry.job);
    if (same) rows.push({ job: entry.job, before: same, after: entry, ratio: entry.ms / same.ms });
  }
  if (rows.length === 0) throw new UserError(`${before} and ${after} have no job in common`);
  printComparison(rows);
}

function entriesIn(file) {
  let entries;
  try {
    entries = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${messageOf(error)}`);
  }
  const isEntry = (entry) => typeof entry?.job === 'string' && entry.ms > 0 && entry.threads > 0;
  if (!Array.isArray(entries) || !entries.every(isEntry)) {
    throw new UserError(`${file} is not what --json writes`);
  }
  return entries;
}
