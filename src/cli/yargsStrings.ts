/**
 * Our strings in place of yargs' English: the kind of mistake and the values that yargs inserts,
 * separated by tabs, for `usageProblem` to put into words.
 */
export const YARGS_STRINGS = {
  'Not enough arguments following: %s': 'no value\t%s',
  'Invalid values:': ' ', // y18n treats the empty string as missing
  'Argument: %s, Given: %s, Choices: %s': 'no choice\t%s\t%s\t%s',
  'Unknown argument: %s': both('unexpected\t%s'),
  'Missing required argument: %s': both('missing option\t%s'),
  'Not enough non-option arguments: got %s, need at least %s': both('missing\t%s\t%s'),
};

/** The form in which yargs keeps strings that depend on a number. */
function both(text: string) {
  return { one: text, other: text };
}
