import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { version } from '../../base/version.js';
import { packageRoot } from '../../base/files.js';
import { countedIfAny, printable, shellWord } from '../../base/text.js';
import type { Collected } from './contents.js';
import { Html, html } from './html.js';
import { folded } from './section.js';
import { type PageContent, sectionsOf } from './sections/sections.js';
import path from 'node:path';

/** The folder of the style in `src/`, and of the compiled script in `dist/`. */
const BROWSER = ['report', 'page', 'browser'];

export interface Page {
  html: string;
  /** The Content-Security-Policy, which the server sends and the page repeats. */
  policy: string;
}

/**
 * A page of results in one file, with styles, script and images embedded, so that it loads nothing. The same
 * results give the same page.
 *
 * @param live whether the page is served, and listens for updates
 */
export function pageOf(content: PageContent, live = false): Page {
  const style = readFileSync(path.join(packageRoot, 'src', ...BROWSER, 'style.css'), 'utf8');
  const script = readFileSync(path.join(packageRoot, 'dist', ...BROWSER, 'page.js'), 'utf8');
  const policy = [
    "default-src 'none'",
    'img-src data:',
    `style-src '${digestOf(style)}'`,
    `script-src '${digestOf(script)}'`,
    ...(live ? ["connect-src 'self'"] : []),
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const sections = sectionsOf(content);
  const { collected } = content;
  const title = titleOf(collected);
  const contents = sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li> `);
  const main = sections.map(({ id, title, body, foldedAs, isNarrow = false }) => {
    const heading = html`<h2 id="${id}_title">${title}</h2> `;
    return html`<section
      id="${id}"
      aria-labelledby="${id}_title"
      ${isNarrow && html` class="half"`}
    >
      ${foldedAs === undefined ? [heading, body] : folded(id, [heading, foldedAs], body)}
    </section> `;
  });
  const nothing =
    sections.length === 0 &&
    html`<section id="nothing">
      <h2>There is nothing here yet</h2>
      <p>
        A run fills this page: in a few minutes, a row of the paper's Table 1 and regular training
        beside it.
      </p>
      <pre tabindex="0">
bang run lenet-b1 lenet-r0 --out ${shellWord(printable(collected.folders[0] ?? 'runs'))}</pre>
      <p>
        A network of your own: <code>bang init</code> writes a configuration. Weights that you have:
        <code>bang eval WEIGHTS</code>.
      </p>
    </section>`;
  const document = html`<!doctype html>
    <html lang="en" ${live && html` data-live`}>
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>${title}</title>
        <link rel="icon" href="data:," />
        ${asElement('style', style)}
      </head>
      <body>
        <a class="skip" href="#main">Skip to the results</a>
        <header>
          <h1>${title}</h1>
          <p class="summary">${summaryOf(collected)}</p>
          ${live && html`<p class="live" id="live">waiting for the server</p>`}
          <nav aria-label="Contents">
            <ul id="contents">
              ${contents}
            </ul>
          </nav>
        </header>
        <main id="main" tabindex="-1">${main}${nothing}</main>
        <footer>
          <p>
            Made by bang ${version()}, which reproduces
            <cite>Towards Robust Deep Neural Networks with BANG</cite> (<a
              href="https://arxiv.org/abs/1612.00138"
              >arXiv 1612.00138</a
            >).
          </p>
        </footer>
        <p class="announcer" id="announcer" role="status"></p>
        ${asElement('script', script)}
      </body>
    </html> `;
  return { html: document.text, policy };
}

/** Whether a text is such a page. */
export function isPage(text: string): boolean {
  return /^<!doctype html>.{0,2000}<title>BANG: /s.test(text);
}

/** Adds no white space: the policy allows only text with exactly this digest. */
function asElement(name: 'style' | 'script', text: string): Html {
  return new Html(`<${name}${name === 'script' ? ' type="module"' : ''}>${text}</${name}>`);
}

function digestOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

function titleOf({ parts, sweeps, studies }: Collected): string {
  const titles = [
    ...parts.map((part) => part.title),
    ...sweeps.map(({ name }) => `Sweep ${printable(name)}`),
    ...studies.map(({ result }) => `Noise study ${printable(result.name)}`),
  ];
  return titles.length === 1 ? `BANG: ${titles[0]}` : 'BANG: results';
}

function summaryOf({ folders, parts, sweeps, studies, transfers }: Collected): string {
  const groups = parts.flatMap((part) => part.groups).filter((group) => group.length > 0);
  const runs = groups.flat().length;
  const what = [
    ...countedIfAny(
      runs,
      'run',
      `runs of ${groups.length === 1 ? 'one experiment' : `${groups.length} experiments`}`,
    ),
    ...countedIfAny(sweeps.length, 'sweep', 'sweeps'),
    ...countedIfAny(studies.length, 'noise study', 'noise studies'),
    ...countedIfAny(transfers.length, 'transfer', 'transfers'),
  ];
  return `${what.length === 0 ? 'Nothing finished' : what.join(', ')} in ${folders.map(printable).join(', ')}.`;
}
