import { describe, expect, test } from '@jest/globals';
import { parseJson } from './parse-json.js';
import { ProblemError } from './problems/problem.js';

const read = (text: string) => parseJson(Buffer.from(text));

function pointersOf(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    return ((error as ProblemError).more.errors ?? []).map(({ pointer }) => pointer);
  }
  return [];
}

describe('a body of JSON', () => {
  test.each([
    '9007199254740991',
    '-9007199254740991',
    '{"a": "12345678901234567890", "b": [1.2345678901234567890, 1e30]}',
    '{"a": "__proto__", "b": ["__proto__", "a \\" 12345678901234567890"]}',
    '{"a": "\\u005f\\\\", "b\\"": 0}',
  ])('is read as it is: %s', (text) => {
    expect(read(text)).toEqual(JSON.parse(text));
  });

  test.each([
    ['9007199254740992', ['']],
    ['{"a": [0, {"b": -12345678901234567890}], "c": 12345678901234567890}', ['/a/1/b', '/c']],
    ['[[], {}, [1, 2], 12345678901234567890]', ['/3']],
    ['{"a~b/c": {"__proto__": 1}}', ['/a~0b~1c/__proto__']],
    ['{"\\u005F_proto__": {"x": 12345678901234567890}}', ['/__proto__', '/__proto__/x']],
    ['{"a\\",": [",", 12345678901234567890]}', ['/a",/1']],
  ])('is refused where it would be changed: %s', (text, pointers) => {
    expect(pointersOf(text)).toEqual(pointers);
  });

  test('is refused when it is none', () => {
    expect(() => read('{"a": 12345678901234567890')).toThrow(ProblemError);
  });
});
