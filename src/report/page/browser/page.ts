/** Sorts and filters a page of results, and follows runs in progress. The page can be read without it. */

type Direction = 'ascending' | 'descending';

interface Sorting {
  column: number;
  direction: Direction;
}

/** The reader's choices by the `id` of the table or gallery, kept when sections are replaced. */
const sortings = new Map<string, Sorting>();
const filters = new Map<string, Map<string, string>>();
const unfolded = new Set<string>();
/** The rows or bodies of tables in their original order. */
const originals = new WeakMap<HTMLTableElement, HTMLElement[]>();

const numbers = new Intl.Collator('en', { numeric: true });

function element<T extends Element>(root: ParentNode, selector: string): T {
  const found = root.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/** The text of a heading in one line. */
function textOf(head: HTMLElement): string {
  return head.textContent.replace(/\s+/g, ' ').trim();
}

function announce(text: string): void {
  element(document, '#announcer').textContent = text;
}

/** What is sorted: bodies of a few lines each, or the rows of a single body. */
function partsOf(table: HTMLTableElement): HTMLElement[] {
  const known = originals.get(table);
  if (known) return known;
  const parts = table.dataset.sort === 'bodies' ? [...table.tBodies] : [...table.tBodies[0].rows];
  originals.set(table, parts);
  return parts;
}

/** The exact number in a column of a row or of the first row of a body, else the text. */
function keyOf(part: HTMLElement, column: number): number | string {
  const row =
    part instanceof HTMLTableSectionElement ? part.rows[0] : (part as HTMLTableRowElement);
  const cell = row.cells[column];
  const data = cell.querySelector('data');
  return data ? Number(data.value) : cell.textContent.trim();
}

/** Numbers before texts, and missing values last in either direction. */
function compare(a: number | string, b: number | string, direction: Direction): number {
  const rank = (key: number | string): number => {
    if (typeof key === 'number') return 0;
    return key === '' || key === '–' ? 2 : 1;
  };
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  const order =
    typeof a === 'number' && typeof b === 'number' ? a - b : numbers.compare(String(a), String(b));
  return direction === 'ascending' ? order : -order;
}

function applySorting(table: HTMLTableElement): void {
  const sorting = sortings.get(table.id);
  const parts = [...partsOf(table)];
  [...table.tHead!.rows[0].cells].forEach((head, column) => {
    if (sorting?.column === column) head.ariaSort = sorting.direction;
    else head.removeAttribute('aria-sort');
  });
  if (sorting) {
    const { column, direction } = sorting;
    const keys = new Map(parts.map((part) => [part, keyOf(part, column)]));
    parts.sort((a, b) => compare(keys.get(a)!, keys.get(b)!, direction));
  }
  for (const part of parts) part.parentElement!.append(part);
}

/** Ascending at first, then descending, then the original order. */
function pressHeading(head: HTMLTableCellElement): void {
  const table = head.closest('table')!;
  const { cellIndex: column } = head;
  const before = sortings.get(table.id);
  const was = before?.column === column ? before.direction : undefined;
  if (was === 'descending') sortings.delete(table.id);
  else sortings.set(table.id, { column, direction: was ? 'descending' : 'ascending' });
  applySorting(table);
  const now = sortings.get(table.id);
  const title = textOf(head);
  announce(now ? `sorted by ${title}, ${now.direction}` : 'in the original order');
}

/** Initially only one class: all of them make a long page. */
function chosenIn(gallery: HTMLElement): Map<string, string> {
  const known = filters.get(gallery.id);
  if (known) return known;
  const [, first] = element<HTMLSelectElement>(gallery, 'select').options;
  const chosen = new Map([['class', first.value]]);
  filters.set(gallery.id, chosen);
  return chosen;
}

function applyFilter(gallery: HTMLElement): void {
  const chosen = chosenIn(gallery);
  for (const select of gallery.querySelectorAll('select')) {
    const wanted = chosen.get(select.name) ?? '';
    // After an update a network may be missing.
    select.value = [...select.options].some(({ value }) => value === wanted) ? wanted : '';
    if (select.value !== wanted) chosen.delete(select.name);
  }
  const passes = (name: string, value: string | undefined): boolean =>
    (chosen.get(name) ?? '') === '' || chosen.get(name) === value;
  let [shown, all] = [0, 0];
  for (const example of gallery.querySelectorAll<HTMLElement>('.example')) {
    let left = 0;
    for (const network of example.querySelectorAll<HTMLElement>('.network[data-row]')) {
      const isChosen = passes('class', example.dataset.class) && passes('row', network.dataset.row);
      const attacks = [...network.querySelectorAll<HTMLElement>('[data-attack]')];
      for (const attack of attacks) attack.hidden = !passes('attack', attack.dataset.attack);
      const visible = isChosen ? attacks.filter(({ hidden }) => !hidden).length : 0;
      // A network that misclassifies the original says so under every attack.
      network.hidden = !isChosen || (visible === 0 && attacks.length > 0);
      left += Number(!network.hidden);
      shown += visible;
      all += attacks.length;
    }
    example.hidden = left === 0;
  }
  element(gallery, 'output').textContent = `${shown} of ${all} shown`;
}

/** The two runs that the reader compares, by the names of the choices. */
const comparedRuns = new Map<string, string>();

/** The numbers of a run as its table shows them, by the headings of their columns: each table has its own. */
function numbersOf(body: HTMLTableSectionElement): Map<string, HTMLDataElement> {
  const heads = [...body.closest('table')!.tHead!.rows[0].cells];
  return new Map(
    heads.flatMap((head, column) => {
      const number = body.rows[0].cells[column].querySelector('data');
      return number ? [[textOf(head), number]] : [];
    }),
  );
}

/** A difference with its sign, and no sign on a rounded zero. */
function signed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  if (Number(text) === 0) return text.replace('-', '');
  return value > 0 ? `+${text}` : text;
}

/** Puts the numbers of two runs side by side, as far as the page has them, and what differs in their settings. */
function compareRuns(): void {
  const section = document.getElementById('compare');
  if (!section) return;
  const [a, b] = [...section.querySelectorAll('select')].map((select) => {
    const wanted = comparedRuns.get(select.name);
    if (wanted !== undefined && [...select.options].some(({ value }) => value === wanted)) {
      select.value = wanted;
    }
    const entry = `[data-entry="${CSS.escape(select.value)}"]`;
    const { settings } = element<HTMLElement>(document, `pre${entry}`).dataset;
    return {
      name: select.selectedOptions[0].text,
      numbers: numbersOf(element(document, `tbody${entry}`)),
      settings: new Map(settings!.split('\n').map((line) => line.split('\t') as [string, string])),
    };
  });
  const table = document.createElement('table');
  const line = (texts: readonly string[], head: boolean): void => {
    const row = (
      head ? table.createTHead() : (table.tBodies.item(0) ?? table.createTBody())
    ).insertRow();
    texts.forEach((text, i) => {
      const isHead = head || i === 0;
      const cell = document.createElement(isHead ? 'th' : 'td');
      if (isHead) cell.setAttribute('scope', head ? 'col' : 'row');
      cell.textContent = text;
      row.append(cell);
    });
  };
  line(['what', a.name, b.name, 'B − A'], true);
  for (const title of new Set([...a.numbers.keys(), ...b.numbers.keys()])) {
    const [was, is] = [a, b].map(({ numbers }) => numbers.get(title));
    const [textA, textB] = [was, is].map((number) => number?.textContent ?? '–');
    const digits = textA.split('.')[1]?.length ?? 0;
    const by = was && is ? signed(Number(is.value) - Number(was.value), digits) : '–';
    line([title, textA, textB, by], false);
  }
  for (const key of new Set([...a.settings.keys(), ...b.settings.keys()])) {
    const [was, is] = [a, b].map(({ settings }) => settings.get(key) ?? '–');
    if (was !== is) line([key, was, is, ''], false);
  }
  element(section, '.compared').replaceChildren(table);
}

/** Says of each table in a box whether it is wider than the box. */
const boxSizes = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    target.classList.toggle('scrolls', target.scrollWidth > target.clientWidth + 1);
  }
});

/** Applies the reader's choices to new content. */
function prepare(root: ParentNode): void {
  for (const table of root.querySelectorAll<HTMLTableElement>('table[data-sort]')) {
    if (sortings.has(table.id)) applySorting(table);
  }
  for (const gallery of root.querySelectorAll<HTMLElement>('.gallery')) applyFilter(gallery);
  for (const box of root.querySelectorAll<HTMLElement>('.box:has(> table)')) boxSizes.observe(box);
  for (const details of root.querySelectorAll('details')) {
    details.open = unfolded.has(details.dataset.key ?? '');
  }
}

document.addEventListener('click', ({ target }) => {
  if (!(target instanceof Element)) return;
  const head = target.closest<HTMLTableCellElement>('th:has(> button)');
  if (head) pressHeading(head);
  // The hash does not change if it leads where the last one did.
  const link = target.closest('a');
  if (link) unfold(link);
});

document.addEventListener('change', ({ target }) => {
  if (!(target instanceof HTMLSelectElement)) return;
  if (target.closest('#compare')) {
    comparedRuns.set(target.name, target.value);
    compareRuns();
    return;
  }
  const gallery = target.closest<HTMLElement>('.gallery');
  if (!gallery) return;
  chosenIn(gallery).set(target.name, target.value);
  applyFilter(gallery);
});

// `toggle` does not bubble.
document.addEventListener(
  'toggle',
  ({ target }) => {
    if (!(target instanceof HTMLDetailsElement)) return;
    const { key = '' } = target.dataset;
    if (target.open) unfolded.add(key);
    else unfolded.delete(key);
  },
  true,
);

/** Unfolds the section that a link leads to, if it is folded. */
function unfold({ hash }: HTMLAnchorElement | Location): void {
  const target = document.getElementById(hash.slice(1));
  const details = target?.querySelector<HTMLDetailsElement>(':scope > details:only-child');
  if (details) details.open = true;
}
addEventListener('hashchange', () => {
  unfold(location);
});

/** Sections as the server sent them, before anything was sorted or hidden in them. */
const received = new Map<string, string>();

function sectionsIn(root: ParentNode): Map<string, HTMLElement> {
  return new Map(
    [...root.querySelectorAll<HTMLElement>('main > section')].map((one) => [one.id, one]),
  );
}

/** Replaces only the sections that have changed, so that the page does not move. */
function take(text: string): void {
  const fresh = new DOMParser().parseFromString(text, 'text/html');
  const sections = sectionsIn(fresh);
  const main = element<HTMLElement>(document, 'main');
  const old = sectionsIn(document);
  const read = sectionRead();
  const top = read?.getBoundingClientRect().top;
  for (const [id, section] of old) if (!sections.has(id)) section.remove();
  let before: Element | null = null;
  for (const [id, section] of sections) {
    const content = section.outerHTML;
    let place = old.get(id);
    if (!place || received.get(id) !== content) {
      received.set(id, content);
      const scrolled = place && boxesIn(place);
      const focused = place?.contains(document.activeElement)
        ? pathTo(document.activeElement!)
        : '';
      if (place) place.replaceWith(section);
      place = section;
      prepare(section);
      for (const [box, left] of scrolled ?? [])
        document.getElementById(box)?.parentElement?.scrollTo({ left });
      if (focused !== '')
        document.querySelector<HTMLElement>(focused)?.focus({ preventScroll: true });
    }
    if (place.previousElementSibling !== before) {
      if (before) before.after(place);
      else main.prepend(place);
    }
    before = place;
  }
  compareRuns();
  for (const selector of ['#contents', '.summary', 'h1']) {
    element(document, selector).replaceWith(element(fresh, selector));
  }
  const same = read && document.getElementById(read.id);
  if (same) scrollBy({ top: same.getBoundingClientRect().top - top!, behavior: 'instant' });
  document.title = fresh.title;
}

/** The section that is read: that of the focus, or the one of which most is to be seen. */
function sectionRead(): HTMLElement | undefined {
  const sections = [...sectionsIn(document).values()];
  const seen = (section: HTMLElement): number => {
    const { top, bottom } = section.getBoundingClientRect();
    const height = Math.min(bottom, innerHeight) - Math.max(top, 0);
    return height > 0 && section.contains(document.activeElement) ? Infinity : height;
  };
  const most = sections.reduce<HTMLElement | undefined>(
    (best, one) => (best && seen(best) >= seen(one) ? best : one),
    undefined,
  );
  return scrollY > 0 ? most : undefined;
}

/** How far each table is scrolled in its box. */
function boxesIn(section: HTMLElement): [string, number][] {
  return [...section.querySelectorAll<HTMLElement>('.box:has(> table)')].map((box) => [
    element(box, 'table').id,
    box.scrollLeft,
  ]);
}

/** A selector for an element: its position below the nearest ancestor with an `id`. */
function pathTo(target: Element): string {
  if (target.id !== '') return `#${CSS.escape(target.id)}`;
  const parent = target.parentElement;
  if (!parent) return target.localName;
  const place = [...parent.children].indexOf(target) + 1;
  return `${pathTo(parent)} > :nth-child(${place})`;
}

function follow(live: HTMLElement): void {
  // `take` keeps the reader's place, also where the browser would not: what is read may be replaced.
  document.documentElement.style.overflowAnchor = 'none';
  const events = new EventSource('events');
  let version: string | undefined;
  const say = (what: 'connected' | 'changed'): void => {
    live.dataset.state = 'connected';
    live.textContent = `live, ${what} at ${new Date().toLocaleTimeString()}`;
  };
  events.addEventListener('page', (event: MessageEvent<string>) => {
    if (event.data === version) {
      say('connected');
      return;
    }
    void fetch('./').then(async (response) => {
      take(await response.text());
      say(version === undefined ? 'connected' : 'changed');
      if (version !== undefined) announce('the page has changed');
      version = event.data;
    });
  });
  events.addEventListener('error', () => {
    live.dataset.state = 'lost';
    live.textContent = 'the server does not answer: this page may be out of date';
  });
}

for (const [id, section] of sectionsIn(document)) received.set(id, section.outerHTML);
prepare(document);
compareRuns();
unfold(location);
const live = document.getElementById('live');
if (live) follow(live);
