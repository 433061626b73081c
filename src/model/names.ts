/** A name out of a file as it may stand in a message of one line: quoted, escaped, cut short. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
}
