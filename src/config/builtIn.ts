import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { codeOf } from '../base/errors.js';
import { isFile, packageRoot } from '../base/files.js';
import { didYouMean } from '../base/nearFile.js';
import { nearest } from '../base/text.js';

/**
 * The configurations that come with the program have names: `ci/lenet-b1` is `configs/ci/lenet-b1.yaml` of
 * this package. So they can be used where the package is installed, far from its files.
 */
const folder = path.join(packageRoot, 'configs');

/** The names of all configurations that come with the program, in alphabetical order. */
export function builtInNames(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => asName(file.slice(0, -'.yaml'.length)))
    .sort();
}

/** Windows writes `ci\lenet-b1`. */
function asName(given: string): string {
  return given.split(path.sep).join('/');
}

/** The file of a configuration that comes with the program; undefined if none has this name. */
export function builtInFile(name: string): string | undefined {
  return builtInNames().includes(asName(name)) ? path.join(folder, `${name}.yaml`) : undefined;
}

/** A configuration that comes with the program, as it is in its file. */
export function builtInText(name: string): string {
  return readFileSync(path.join(folder, `${name}.yaml`), 'utf8');
}

/**
 * The file that is meant by a path, or else by a name. A path wins, so that no file of the user's is ever
 * passed over. A folder is not a configuration, and result folders often have the names of theirs.
 *
 * @param from the folder that a relative path starts in
 */
export function configFile(given: string, from = ''): string {
  const file = path.isAbsolute(given) ? given : path.join(from, given);
  return isFile(file) ? file : (builtInFile(given) ?? file);
}

/** Whether this is the name of a configuration that comes with the program, not a path. */
export function isBuiltIn(given: string): boolean {
  return !isFile(given) && builtInFile(given) !== undefined;
}

/**
 * The same list with names in the place of patterns such as `ci/*`, where the shell has left them as they are
 * because no file of the user's fits.
 */
export function withoutPatterns(given: readonly string[]): string[] {
  return given.flatMap((one) => {
    if (!one.includes('*') || isFile(one)) return [one];
    const parts = one.split('*').map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, '\\$&'));
    const pattern = new RegExp(`^${parts.join('[^/]*')}$`);
    const names = builtInNames().filter((name) => pattern.test(name));
    return names.length > 0 ? names : [one];
  });
}

/** What may have been meant by a file that does not exist: `, did you mean …?`, or nothing. */
export function didYouMeanConfig(file: string, error: unknown): string {
  const near = didYouMean(file, error);
  if (near !== '' || codeOf(error) !== 'ENOENT') return near;
  // As it is called in a clone of the repository: configs/lenet-b1.yaml.
  const given = asName(file);
  const bare = given.replace(/^(\.\/)?configs\//, '').replace(/\.ya?ml$/, '');
  const name = bare === given ? nearest(given, builtInNames()) : builtInFile(bare) && bare;
  return name === undefined ? '' : `, did you mean ${name}, which comes with the program?`;
}
