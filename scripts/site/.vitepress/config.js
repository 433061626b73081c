// The documents as a web site, with search, that needs no network to be read: `npm run docs`, with `-- --base /bang/`
// for a server that has it at that path. The build fails where a link leads to no page, no heading or no file.
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

/** This repository. */
const root = fileURLToPath(new URL('../../..', import.meta.url));

/** What documents link to as it is. VitePress takes an unknown ending, or none, for that of a page. */
const FILES = ['LICENSE', 'CITATION.cff', 'docs/deploy'];
process.env.VITE_EXTRA_EXTENSIONS = 'cff,sh';
const WITHOUT_ENDING = ['LICENSE', 'Dockerfile'];

const SIDEBAR = {
  'To begin with': { 'What bang is': '', Tutorial: 'docs/tutorial', Guide: 'docs/guide' },
  'What was found': {
    'Questions and answers': 'docs/faq',
    'Reproducing the paper': 'docs/reproducing',
    Robustness: 'docs/robustness',
    Figures: 'docs/figures',
    'Table 1': 'results/table1/table',
    'Table 2': 'results/table2/table',
  },
  Using: {
    'Configurations and results': 'docs/files',
    'Networks trained elsewhere': 'docs/models',
    'The web page': 'docs/report',
    Sweeps: 'docs/sweeps',
    'Checks in CI': 'docs/ci',
    'Weights for other programs': 'docs/export',
    'The library': 'docs/api',
    Glossary: 'docs/glossary',
  },
  'How it works': {
    Protocol: 'docs/protocol',
    Architecture: 'docs/architecture',
    Engines: 'docs/engines',
    Performance: 'docs/performance',
    Scaling: 'docs/scaling',
    Reliability: 'docs/reliability',
  },
  'The project': { Contributing: 'CONTRIBUTING', Changes: 'CHANGELOG', Security: 'SECURITY' },
};

/** The id of a heading, as on GitHub, where the same links must work. */
const slugify = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
    .replaceAll(' ', '-');

/** Links within the site that lead nowhere. `base` is the site's path on its server, with slashes around it. */
function brokenLinks(site, base) {
  const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.html'),
  );
  const read = (page) => readFileSync(path.join(site, page), 'utf8');
  const idsOf = (page) => new Set([...read(page).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  const ids = new Map(pages.map((page) => [page, idsOf(page)]));
  return pages.flatMap((page) =>
    [...read(page).matchAll(/<a [^>]*?href="([^":]+)"/g)]
      .map(([, href]) => href)
      .filter((href) => {
        const { pathname, hash } = new URL(href, `file://${base}${page}`);
        const name = decodeURI(pathname).slice(base.length) || 'index.html';
        if (!pathname.startsWith(base) || !existsSync(path.join(site, name))) return true;
        return (
          hash !== '' && ids.has(name) && !ids.get(name).has(decodeURIComponent(hash.slice(1)))
        );
      })
      .map((href) => `${page}: ${href}`),
  );
}

export default defineConfig({
  title: 'bang',
  description: 'Training with BANG, and attacks that tell whether it is robust',
  srcDir: root,
  srcExclude: [
    '{bin,build,configs,coverage,dist,native,node_modules,prebuilds,runs,screenshots,scripts,site,src,test}/**',
  ],
  rewrites: { 'README.md': 'index.md' },
  outDir: path.join(root, 'site'),
  // Whether they are there is looked up at the end.
  ignoreDeadLinks: WITHOUT_ENDING.map((name) => new RegExp(`/${name}$`)),
  cacheDir: path.join(root, 'node_modules', '.cache', 'vitepress'),
  markdown: {
    anchor: { slugify },
    config(md) {
      const { link_open: open } = md.renderer.rules;
      const ending = new RegExp(`(href="[^"]*(?:${WITHOUT_ENDING.join('|')}))\\.html"`);
      md.renderer.rules.link_open = (...args) =>
        open(...args).replace(ending, '$1" target="_blank"');
    },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: Object.entries(SIDEBAR).map(([text, pages]) => ({
      text,
      items: Object.entries(pages).map(([name, page]) => ({ text: name, link: `/${page}` })),
    })),
  },
  buildEnd({ outDir, site }) {
    for (const file of FILES) {
      cpSync(path.join(root, file), path.join(outDir, file), { recursive: true });
    }
    const broken = brokenLinks(outDir, site.base);
    if (broken.length > 0) throw new Error(`links lead nowhere:\n${broken.join('\n')}`);
  },
});
