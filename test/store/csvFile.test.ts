import { parse } from 'csv-parse/sync';
import { describe, expect, it } from 'vitest';
import { csvLines } from '#bang/store/csvFile.js';

/** What the parser of the package says, in our words. */
function byParser(text: string): unknown {
  try {
    return parse(text, { columns: true, bom: true });
  } catch {
    return 'damaged';
  }
}

function ours(text: string): unknown {
  try {
    return csvLines(text, 'x.csv');
  } catch (error) {
    const { message } = error as Error;
    return message === 'x.csv holds no line' ? [] : message.split(': ')[0].replace(/.* is /, '');
  }
}

describe('lines of CSV', () => {
  // What quotes nothing is not given to the parser: it must be read as if it were.
  it.each([
    '',
    'a,b',
    'a,b\n',
    'a,b\n1,2\n',
    'a,b\n1,2',
    'a,b\r\n1,2\r\n',
    '\ufeffa,b\n1,2\n',
    'a,b\n"1,2",3\n',
    'a,b\n"1\n2",3\n',
    'a,b\n ,\t2\n',
    'a,b\n,\n',
    'a,b\n1,2\n\n',
    'a,b\n\n1,2\n',
    'a,b\n1\n',
    'a,b\n1,2,3\n',
    'a\n\n1\n',
    '\na,b\n1,2\n',
    '\n\n',
    ',b\n1,2\n',
    '__proto__,b\n1,2\n',
    'a,b\n1,2"\n',
  ])('%j are those of the parser', (text) => {
    expect(ours(text)).toEqual(byParser(text));
  });
});
