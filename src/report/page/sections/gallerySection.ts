import { ATTACKS } from '../../../attacks/attacks.js';
import { DATA_TITLES } from '../../../data/shapes.js';
import type { Example, NetworkExamples, Original } from '../../../experiment/gallery.js';
import type { Galleries, Gallery } from '../../../experiment/galleries.js';
import { type Html, html } from '../html.js';
import { imageUrl } from '../../imageUrl.js';
import { prose } from '../prose.js';
import { idsOf, type Section } from '../section.js';

export function gallerySection({ galleries, notes, isOld = false }: Galleries): Section {
  const none =
    notes.length > 0
      ? html`<p>There are no examples; <a href="#left-out">Left out</a> says why.</p>`
      : html`<p>
          There are no examples: no folder of these runs holds any, or weights from which they could
          be computed.
          <code>bang run</code> leaves both there.
        </p>`;
  const ids = idsOf(
    'gallery',
    galleries.map(({ data }) => data),
  );
  const body = [
    isOld && html`<p>Examples are being computed.</p>`,
    galleries.length === 0 && !isOld && none,
    galleries.map((gallery, i) => galleryBody(gallery, ids[i])),
  ];
  return { id: 'gallery', title: 'Adversarial examples', body };
}

function galleryBody(gallery: Gallery, id: string): Html {
  const { data, classes, examples, differing, compared } = gallery;
  const { originals, networks } = examples;
  const className = (label: number): string => classes?.[label] ?? String(label);
  const labels = [...new Set(originals.map(({ label }) => label))];
  const attacks = [...new Set(networks.flatMap((one) => one.examples.map(({ attack }) => attack)))];
  const choice = (
    name: string,
    title: string,
    options: readonly (readonly [string, string])[],
  ): Html =>
    html`<label
      >${title}
      <select name="${name}">
        <option value="">all</option>
        ${options.map(([value, text]) => html`<option value="${value}">${text}</option>`)}
      </select></label
    > `;
  const agreement =
    compared > 0 &&
    (differing === 0
      ? ` Their L∞ is that of per-image.csv, for all ${compared}.`
      : ` The L∞ of ${differing} of ${compared} differs from per-image.csv, which another engine may have computed.`);
  return html`<div class="gallery" id="${id}">
    <h3>${DATA_TITLES[data]}</h3>
    <p>
      Test images as the attacks changed them, and below each what was added, scaled so that its
      largest change is black or white; grey is no change.${agreement}
    </p>
    <form class="filter" aria-label="Which examples of ${DATA_TITLES[data]} are shown">
      ${choice(
        'class',
        'Class',
        labels.map((label) => [String(label), className(label)]),
      )}${choice(
        'attack',
        'Attack',
        attacks.map((attack) => [attack, ATTACKS[attack].title]),
      )}${choice(
        'row',
        'Network',
        networks.map(({ name }) => [name, name]),
      )}<output></output>
    </form>
    ${originals.map((original, i) => exampleGroup(original, i, gallery, className))}
  </div>`;
}

function exampleGroup(
  original: Original,
  index: number,
  { size, examples }: Gallery,
  className: (label: number) => string,
): Html {
  const { position, label, pixels } = original;
  const title = `Test image ${position}: ${className(label)}`;
  const boxes = examples.networks.map((network) => {
    const seen = network.predicted[index];
    if (seen === undefined) return undefined;
    const isRight = seen === label;
    const cards = network.examples
      .filter((example) => example.original === index)
      .map((example) => exampleCard(example, network, original, size, className));
    const wrong = html`<p>takes it for ${className(seen)} as it is: not attacked</p>`;
    return html`<div class="network" data-row="${network.name}">
      <h5>${network.name}</h5>
      <div class="attacks">${isRight ? cards : wrong}</div>
    </div>`;
  });
  return html`<article class="example" data-class="${label}">
    <h4>${title}</h4>
    <div class="networks">
      <div class="network original">
        <h5>original</h5>
        <div class="attacks">
          <figure>
            <img src="${imageUrl(pixels, size)}" width="84" height="84" alt="${title}, unchanged" />
          </figure>
        </div>
      </div>
      ${boxes}
    </div>
  </article>`;
}

function exampleCard(
  { attack, found, original: index }: Example,
  { name, blank, examples }: NetworkExamples,
  original: Original,
  size: Gallery['size'],
  className: (label: number) => string,
): Html {
  const { title } = ATTACKS[attack];
  if (!found) {
    const why = attack === 'fgs' && blank[index] ? 'fails: its gradient is blank' : 'fails';
    return html`<figure data-attack="${attack}">
      <div class="tile"></div>
      <div class="tile"></div>
      <figcaption><b>${title}</b> ${why}</figcaption>
    </figure>`;
  }
  const { pixels, predicted, linf, pass } = found;
  const added = perturbationOf(original.pixels, pixels, linf);
  const [before, after] = [className(original.label), className(predicted)];
  const times = magnification(linf);
  const factor = times < 10 ? times.toFixed(1) : times.toFixed(0);
  const flattery = attack === 'hc1' ? flatteryOf(linf, index, examples) : undefined;
  const [alt, altAdded] = [
    `Test image ${original.position} after ${title} on ${name}: taken for ${after}`,
    `The perturbation of ${title}, times ${factor}`,
  ];
  return html`<figure data-attack="${attack}">
    <img src="${imageUrl(pixels, size)}" width="84" height="84" alt="${alt}" /><img
      src="${imageUrl(added, size)}"
      width="84"
      height="84"
      alt="${altAdded}"
    />
    <figcaption>
      <b>${title}</b><br />${before} → <strong>${after}</strong
      ><br />L∞&nbsp;${linf}${!Number.isNaN(pass) && html`<br />PASS&nbsp;${pass.toFixed(2)}`}<br /><small
        >below ×&nbsp;${factor}</small
      >${flattery !== undefined && html`<br /><small class="flatters">${flattery}</small>`}
    </figcaption>
  </figure>`;
}

/** What HC1 hides: the attack that changes the same image least, if it needs less. */
function flatteryOf(
  linf: number,
  index: number,
  examples: NetworkExamples['examples'],
): string | undefined {
  const others = examples.flatMap(({ original, attack, found }) =>
    original === index && found && found.linf < linf ? [{ attack, linf: found.linf }] : [],
  );
  if (others.length === 0) return undefined;
  const least = others.reduce((a, b) => (b.linf < a.linf ? b : a));
  return prose(`${ATTACKS[least.attack].title} needs L∞ ${least.linf}`);
}

/** Grey: no perturbation. */
const MIDDLE = 128;

/** How far a perturbation is magnified to reach black or white somewhere: 127 / L∞. */
function magnification(linf: number): number {
  return (MIDDLE - 1) / linf;
}

/** The perturbation of an image, magnified, on grey. */
function perturbationOf(original: Uint8Array, perturbed: Uint8Array, linf: number): Uint8Array {
  const factor = magnification(linf);
  return original.map((value, i) => Math.round(MIDDLE + factor * (perturbed[i] - value)));
}
