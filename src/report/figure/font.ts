import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/**
 * The font of all figures. Arimo has the same widths as Arial and Liberation Sans, so the text of an SVG is
 * laid out correctly with any of the three. It has a free licence, so PNGs are always drawn with it.
 */
export const FONT_FAMILY = 'Arimo, Arial, Liberation Sans, Helvetica, sans-serif';

const require = createRequire(import.meta.url);
const FACES = {
  regular: '400Regular/Arimo_400Regular.ttf',
  bold: '700Bold/Arimo_700Bold.ttf',
} as const;
type Face = keyof typeof FACES;

/** The files of both faces, TrueType. */
export function fontFiles(): string[] {
  return (Object.keys(FACES) as Face[]).map(fileOf);
}

function fileOf(face: Face): string {
  return require.resolve(`@expo-google-fonts/arimo/${FACES[face]}`);
}

/** The width of a line of text in pixels, without kerning, at a font size in pixels. */
export function textWidth(text: string, size: number, bold = false): number {
  const { unitsPerEm, advanceOf } = metricsOf(bold ? 'bold' : 'regular');
  let units = 0;
  for (const letter of text) units += advanceOf(letter.codePointAt(0)!);
  return (units * size) / unitsPerEm;
}

interface Metrics {
  unitsPerEm: number;
  /** Of the glyph of a code point; of the font's box where it has none. */
  advanceOf: (codePoint: number) => number;
}

const known = new Map<Face, Metrics>();

function metricsOf(face: Face): Metrics {
  const metrics = known.get(face) ?? readMetrics(readFileSync(fileOf(face)));
  known.set(face, metrics);
  return metrics;
}

/** Widths from a TrueType file: tables `head`, `hhea`, `hmtx` and a `cmap` of format 4 (OpenType 1.9). */
function readMetrics(file: Buffer): Metrics {
  const tables = new Map<string, number>();
  for (let i = 0, at = 12; i < file.readUInt16BE(4); i++, at += 16) {
    tables.set(file.toString('latin1', at, at + 4), file.readUInt32BE(at + 8));
  }
  const start = (name: string): number => tables.get(name)!;
  const withWidth = file.readUInt16BE(start('hhea') + 34);
  const cmap = format4In(file, start('cmap'));
  return {
    unitsPerEm: file.readUInt16BE(start('head') + 18),
    advanceOf: (codePoint) => {
      // The last width stands for all glyphs after it.
      const glyph = Math.min(glyphOf(file, cmap, codePoint), withWidth - 1);
      return file.readUInt16BE(start('hmtx') + 4 * glyph);
    },
  };
}

function format4In(file: Buffer, cmap: number): number {
  for (let i = 0; i < file.readUInt16BE(cmap + 2); i++) {
    const subtable = cmap + file.readUInt32BE(cmap + 4 + 8 * i + 4);
    if (file.readUInt16BE(subtable) === 4) return subtable;
  }
  throw new Error('the font has no character map of format 4');
}

function glyphOf(file: Buffer, cmap: number, codePoint: number): number {
  const segments = file.readUInt16BE(cmap + 6) / 2;
  const ends = cmap + 14;
  const starts = ends + 2 * segments + 2;
  const deltas = starts + 2 * segments;
  const offsets = deltas + 2 * segments;
  for (let i = 0; i < segments; i++) {
    if (codePoint > file.readUInt16BE(ends + 2 * i)) continue;
    const first = file.readUInt16BE(starts + 2 * i);
    if (codePoint < first) return 0;
    const delta = file.readUInt16BE(deltas + 2 * i);
    const offset = file.readUInt16BE(offsets + 2 * i);
    if (offset === 0) return (codePoint + delta) & 0xffff;
    const glyph = file.readUInt16BE(offsets + 2 * i + offset + 2 * (codePoint - first));
    return glyph === 0 ? 0 : (glyph + delta) & 0xffff;
  }
  return 0;
}
