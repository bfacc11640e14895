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
    '[0.0, -0.00, 0e400, 1.50e1, 1e23, 1.7976931348623157e308, 100000000000000000000e-2, 9007199254740991.0]',
    '{"a": "\\ud83d\\ude00", "prototype": 1, "constructor": "prototype"}',
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
    [
      '[1e309, -1e999, 1e-400, 9007199254740993.0, 123456789012345678901e5, 12345678.90123456789e12]',
      ['/0', '/1', '/2', '/3', '/4', '/5'],
    ],
    ['{"a": "\\u0000", "b": ["x\\ud800y"], "\\udc00": 1}', ['/a', '/b/0', '/\udc00']],
    ['{"constructor": {"prototype": {}}}', ['/constructor/prototype']],
  ])('is refused where it would be changed: %s', (text, pointers) => {
    expect(pointersOf(text)).toEqual(pointers);
  });

  test('is refused when it is none', () => {
    expect(() => read('{"a": 12345678901234567890')).toThrow(ProblemError);
  });
});
