import type { FuzzRequest } from './fuzz-request.js';
import type { Random } from './random.js';

/** Texts that have broken somebody's service. */
const TEXTS = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'x\udfff',
  '\u202e\u200b\ufeff',
  "'; --",
  '"',
  '\\',
  '%',
  '%00',
  '%ff',
  '%c0%ae',
  '../..',
  'NaN',
  'null',
  '-0',
  '1e309',
  '0x10',
  '9'.repeat(40),
  '__proto__',
  'constructor',
  '2026-02-30T00:00:00Z',
  '9999-12-31T23:59:59-12:00',
  '0000-01-01T00:00:00Z',
  'x'.repeat(300),
  'é'.repeat(5000),
  'a,b',
  ',',
  ','.repeat(30),
];
const PROTOTYPE_KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', ''];
const METHODS = ['PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'GET', 'POST', 'PUT', 'DELETE', 'QUERY'];
const MEDIA = [
  'text/plain',
  'application/xml',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  'application/json; charset=utf-16',
  'application/json;',
  'application/merge-patch+json',
  '/',
  'x'.repeat(200),
];

function nested(depth: number, random: Random): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = random.chance(0.5) ? [value] : { k: value };
  return value;
}

const oddValue = (random: Random): unknown =>
  random.pick<() => unknown>([
    () => random.pick(TEXTS),
    () => random.pick(TEXTS),
    () => random.pick([0, -1, 1.5, 1e21, -1e308, 2 ** 53, Number.MAX_SAFE_INTEGER, 2 ** 31, 10_001]),
    () => random.pick([null, true, false, [], {}, [[]], [null], { a: null }]),
    () => nested(random.pick([5, 99, 101, 3000]), random),
    () => JSON.parse(`{${JSON.stringify(random.pick(PROTOTYPE_KEYS))}:{"polluted":1}}`),
    () => Array.from({ length: random.pick([21, 1000, 10_001]) }, () => 0),
    () => 'y'.repeat(random.pick([501, 100_000, 300_000])),
  ])();

/** Every object and array in a value, itself among them. */
function insidesOf(value: unknown): object[] {
  const found: object[] = [];
  // Not by calling itself: some values are very deep.
  for (const next = [value]; next.length > 0;) {
    const one = next.pop();
    if (one === null || typeof one !== 'object') continue;
    found.push(one);
    for (const inner of Object.values(one)) next.push(inner);
  }
  return found;
}

/** Does something to a random object or array of the body, which becomes one if it was none. */
function inBody(
  request: FuzzRequest,
  random: Random,
  change: (inside: Record<string, unknown>) => void,
): void {
  if (request.body === null || typeof request.body !== 'object') request.body = {};
  change(random.pick(insidesOf(request.body)) as Record<string, unknown>);
}

/** Defines a key as JSON does, also one that would reach the prototype. */
function define(inside: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(inside, key, { value, enumerable: true, configurable: true, writable: true });
}

const jsonOf = (body: unknown) => JSON.stringify(body) ?? '{}';

/** Whatever is done to a request, by its name. Each may leave it a good one. */
export const MUTATIONS: Record<string, (request: FuzzRequest, random: Random) => void> = {
  'another value': (request, random) =>
    inBody(request, random, (inside) => {
      const keys = Object.keys(inside);
      define(inside, keys.length > 0 ? random.pick(keys) : 'a', oddValue(random));
    }),
  'a field less': (request, random) =>
    inBody(request, random, (inside) => {
      const keys = Object.keys(inside);
      if (keys.length > 0 && !Array.isArray(inside)) delete inside[random.pick(keys)];
    }),
  'a field more': (request, random) =>
    inBody(request, random, (inside) =>
      define(inside, random.pick([...PROTOTYPE_KEYS, 'ownerId', 'status', 'id', 'zzz']), oddValue(random)),
    ),
  'another body': (request, random) => (request.body = oddValue(random)),
  'no body': (request) => (request.body = undefined),
  'broken JSON': (request, random) => {
    const text = jsonOf(request.body);
    request.raw = random.pick([
      () => Buffer.from(text.slice(0, random.int(0, text.length))),
      () => Buffer.from(`${text}${random.pick(['}', ',', '\0', text])}`),
      () => Buffer.concat([Buffer.from('{"type":"'), Buffer.from([0xff, 0xfe, 0xc0]), Buffer.from('"}')]),
      () => Buffer.from(text, 'utf16le'),
      () => Buffer.from(`\ufeff${text}`),
      () => Buffer.from('{"type":"demo.wait","payload":{"steps":1e999}}'),
      () => Buffer.from('{"type":"demo.wait","type":"none","numTask":1,"numTask":0}'),
      () => Buffer.from('['.repeat(random.pick([50, 200, 100_000]))),
      () => Buffer.from('{"type":"\\ud800","dedupeKey":"\\u0000"}'),
      () => Buffer.alloc(random.pick([0, 1, 300_000]), random.pick([0, 32, 120])),
    ])();
  },
  'another media type': (request, random) => {
    request.body ??= {};
    request.headers['content-type'] = random.pick(MEDIA);
  },
  'an encoded body': (request, random) =>
    (request.headers['content-encoding'] = random.pick(['gzip', 'br', 'identity', 'x'])),
  'a parameter more': (request, random) =>
    request.query.push([
      random.pick([
        'zzz',
        '__proto__',
        'limit',
        'cursor',
        'status',
        'labels.',
        'labels.x',
        'a[b]',
        'a[]',
        '',
      ]),
      random.pick(TEXTS),
    ]),
  'a parameter of another value': (request, random) => {
    const named = request.operation.parameters.filter((parameter) => parameter.in === 'query');
    if (named.length > 0) request.query.push([random.pick(named).name, random.pick(TEXTS)]);
  },
  'another id': (request, random) => {
    for (const name of Object.keys(request.path)) request.path[name] = random.pick(TEXTS);
  },
  'another method': (request, random) => (request.method = random.pick(METHODS)),
  'another path': (request, random) => {
    const { path } = request.operation;
    request.address = random.pick([
      `${path}/`,
      `/${path}`,
      path.toUpperCase(),
      `${path}/..`,
      `${path};x=1`,
      `${path}%00`,
      `${path}/%zz`,
      `${path}/%ff%fe`,
      `${path}?%`,
      `${path}?a=%ff&a&&=`,
      `${path}#x`,
      '*',
      '//example.com/jobs',
      'http://127.0.0.1/jobs',
      `/jobs/${'x'.repeat(random.pick([200, 9000]))}`,
      `/${'a/'.repeat(500)}`,
      `${path}?${'a=1&'.repeat(1000)}`,
    ]);
  },
  'another credential': (request, random) => {
    request.headers['authorization'] = random.pick<string | string[]>([
      '',
      'Bearer',
      'Basic eDp4',
      'Bearer lh_x_y',
      `Bearer ${'x'.repeat(3000)}`,
      'Bearer eyJhbGciOiJub25lIn0.e30.',
    ]);
  },
  'another header': (request, random) => {
    const [name, value] = random.pick<[string, string]>([
      ['accept', random.pick(['text/html', 'application/xml', '*/*;q=0', 'x', 'application/*', ''])],
      ['idempotency-key', random.pick(['', 'a b', 'x'.repeat(256), 'k1', '"k"', 'é'])],
      ['if-none-match', random.pick(['*', '""', 'x', ','.repeat(2000), 'W/"a", "b"'])],
      ['x-request-id', random.pick(['', 'a b', 'x'.repeat(500), '{"a":1}', 'é'])],
      ['expect', '100-continue'],
      ['range', 'bytes=0-1'],
      ['x-http-method-override', 'DELETE'],
      ['x-forwarded-for', '127.0.0.1, x'],
      ['origin', 'null'],
    ]);
    request.headers[name] = value;
  },
};
