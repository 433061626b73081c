import type { Program } from '../messages.js';

/** Writing kernels in WGSL, WebGPU's shading language. */

/** An array that a kernel is given: its name and type, and whether it is only read. */
type ArrayOf = readonly [name: string, access: 'read' | 'write', type: 'f32' | 'i32' | 'u32'];

export interface Source {
  arrays: readonly ArrayOf[];
  /** Names of whole numbers, and of real ones, that differ from call to call: `p.name`. */
  parameters?: readonly string[];
  reals?: readonly string[];
  /** Functions and constants. */
  declarations?: string;
  /** Invocations of a workgroup. */
  size?: number;
  /**
   * The kernel's body. `t` is the number of the invocation in its workgroup, `group` that of the workgroup,
   * `layer` its z.
   */
  body: string;
}

/** The kernel in WGSL; and its parameters, in the order in which a call gives them, each as `u` (whole) or `f` (real). */
export function program({
  arrays,
  parameters = [],
  reals = [],
  declarations = '',
  size = 64,
  body,
}: Source): Program & { parameters: string } {
  const members = [
    ...parameters.map((name) => `${name}: u32`),
    ...reals.map((name) => `${name}: f32`),
    // A struct has at least one member.
    'end: u32',
  ];
  const bindings = arrays.map(([name, access, type], i) => {
    const mode = access === 'read' ? 'read' : 'read_write';
    return `@group(0) @binding(${i + 1}) var<storage, ${mode}> ${name}: array<${type}>;`;
  });
  const code = `
struct Parameters { ${members.join(', ')} }
@group(0) @binding(0) var<uniform> p: Parameters;
${bindings.join('\n')}
${declarations}
@compute @workgroup_size(${size})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) t: u32,
) {
  let group = workgroup.y * workgroups.x + workgroup.x;
  let layer = workgroup.z;
  ${body}
}
`;
  return {
    code,
    reads: arrays.map(([, access]) => access === 'read'),
    parameters: 'u'.repeat(parameters.length) + 'f'.repeat(reals.length),
  };
}

/** One invocation for each of `p.count` values, whose number is `i`. */
export function eachValue(source: Omit<Source, 'size'>): Program & { parameters: string } {
  return program({
    ...source,
    parameters: ['count', ...(source.parameters ?? [])],
    body: `
  let i = group * 64u + t;
  if (i >= p.count) { return; }
  ${source.body}`,
  });
}

/** The workgroups of `eachValue`. */
export function groupsFor(count: number): [number, number] {
  return gridOf(Math.ceil(count / 64));
}

/** WebGPU allows 65 535 workgroups in each direction. */
export function gridOf(groups: number): [number, number] {
  const most = 32768;
  return groups <= most ? [groups, 1] : [most, Math.ceil(groups / most)];
}

/** Constants of WGSL with these values. */
export function constants(values: Record<string, number>): string {
  return Object.entries(values)
    .map(([name, value]) => `const ${name}: u32 = ${value}u;`)
    .join('\n');
}

/** Invocations of a workgroup that reduces a row. */
export const ROW_SIZE = 128;

/**
 * Reduces the values that the invocations of a workgroup hold to one, which all receive; in a fixed order.
 *
 * @param combine an expression of `a` and `b`
 */
export function reduction(name: string, combine: string): string {
  return `
var<workgroup> ${name}Cells: array<f32, ${ROW_SIZE}>;
fn ${name}(t: u32, value: f32) -> f32 {
  ${name}Cells[t] = value;
  workgroupBarrier();
  for (var half = ${ROW_SIZE / 2}u; half > 0u; half /= 2u) {
    if (t < half) {
      let a = ${name}Cells[t];
      let b = ${name}Cells[t + half];
      ${name}Cells[t] = ${combine};
    }
    workgroupBarrier();
  }
  return ${name}Cells[0];
}`;
}

/**
 * WGSL lets a compiler assume that there are no NaN, and its log(1) need not be 0. So these are written out, by
 * the bits, and with the polynomials of Cephes (Moshier, 1992), which are exact to the last bit or two.
 */
export const MATHEMATICS = `
fn isNaN(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn isFinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
// Whether x replaces the largest value so far: a NaN is larger than all others, and the first one counts.
fn exceeds(x: f32, largest: f32) -> bool { return x > largest || (isNaN(x) && !isNaN(largest)); }
fn powerOfTwo(k: i32) -> f32 { return bitcast<f32>(u32(k + 127) << 23u); }
fn exponential(x: f32) -> f32 {
  if (isNaN(x)) { return x; }
  if (x < -104.0) { return 0.0; }
  if (x > 88.72) { return bitcast<f32>(0x7f800000u | (bitcast<u32>(x) & 0u)); }
  let k = floor(1.44269504088896341 * x + 0.5);
  let r = fma(k, 2.12194440e-4, fma(k, -0.693359375, x));
  var y = 1.9875691500e-4;
  y = fma(y, r, 1.3981999507e-3);
  y = fma(y, r, 8.3334519073e-3);
  y = fma(y, r, 4.1665795894e-2);
  y = fma(y, r, 1.6666665459e-1);
  y = fma(y, r, 5.0000001201e-1);
  y = fma(y, r * r, r) + 1.0;
  let n = i32(k);
  // In two steps, since the power alone may be out of range.
  return y * powerOfTwo(n / 2) * powerOfTwo(n - n / 2);
}
// Of x > 0.
fn logarithm(x: f32) -> f32 {
  if (!isFinite(x)) { return x; }
  let bits = bitcast<u32>(x);
  var e = f32(i32(bits >> 23u) - 126);
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.707106781186547524) { e -= 1.0; m = m + m - 1.0; } else { m = m - 1.0; }
  let z = m * m;
  var y = 7.0376836292e-2;
  y = fma(y, m, -1.1514610310e-1);
  y = fma(y, m, 1.1676998740e-1);
  y = fma(y, m, -1.2420140846e-1);
  y = fma(y, m, 1.4249322787e-1);
  y = fma(y, m, -1.6668057665e-1);
  y = fma(y, m, 2.0000714765e-1);
  y = fma(y, m, -2.4999993993e-1);
  y = fma(y, m, 3.3333331174e-1);
  y = y * m * z;
  y = fma(e, -2.12194440e-4, y);
  y = fma(-0.5, z, y);
  return fma(e, 0.693359375, m + y);
}`;
