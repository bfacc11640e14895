import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { answerOf, type CatalogReply, findingOf } from './catalog-answer.js';

const PASSING = [401, 403, 404, 408, 425, 429];
const STATUSES = Array.from({ length: 500 }, (_, at) => at + 100);
const DAY_MS = 86_400_000;

function reply(status: number, text = '', retryAfter: string | null = null): CatalogReply {
  return { status, text, retryAfter };
}

/** What the answer to any status must be, written as ranges. */
function kindOf(status: number): string {
  if (status < 200) return 'unknown';
  if (status < 300) return 'accepted';
  if (status < 400 || status >= 500 || PASSING.includes(status)) return 'unknown';
  return 'rejected';
}

describe('the answer to a posted record', () => {
  test('is accepted on a 2xx, rejected on a 4xx about the record, and unknown on anything else', () => {
    for (const text of ['', '{"id":"a"}', '<html>']) {
      const wrong = STATUSES.filter((status) => answerOf(reply(status, text)).kind !== kindOf(status));
      expect({ text, wrong }).toEqual({ text, wrong: [] });
    }
  });

  test('names the record that the reply names', () => {
    expect(answerOf(reply(201, '{"id":"m-1","more":2}'))).toEqual({ kind: 'accepted', recordId: 'm-1' });
  });

  test.each(['', 'created', '{', '{}', '{"id":7}', '{"id":null}', '[{"id":"a"}]', '"a"', 'null'])(
    'is accepted, without the id of a record, on a 201 with the body %j',
    (text) => {
      expect(answerOf(reply(201, text))).toEqual({ kind: 'accepted', recordId: null });
    },
  );

  test('is final when rejected: it never says when to come back', () => {
    expect(answerOf(reply(400, '{"message":"bad"}', '5'))).toEqual({
      kind: 'rejected',
      status: 400,
      message: 'the Catalog answered 400: bad',
    });
  });
});

describe('what the Catalog said', () => {
  test.each([
    ['{"message":"a"}', ': a'],
    ['{"detail":"b"}', ': b'],
    ['{"title":"c"}', ': c'],
    ['{"error":"d"}', ': d'],
    ['{"error":"d","title":"c","detail":"b","message":"a"}', ': a'],
    ['{"message":{"deep":1},"detail":"b"}', ': b'],
    ['{"message":7}', ': {"message":7}'],
    ['["x"]', ': ["x"]'],
    ['plain text', ': plain text'],
    ['{broken', ': {broken'],
    ['', ''],
    [' \n\t', ''],
    ['{"message":" "}', ''],
  ])('is taken from the body %j', (text, said) => {
    const reason = `the Catalog answered 503${said}`;
    expect(answerOf(reply(503, text))).toEqual({ kind: 'unknown', reason });
    expect(findingOf(reply(503, text))).toEqual({ unknown: reason });
  });
});

describe('the finding of a record', () => {
  test.each(['{"id":"a"}', '{}'])('is the record %s of a 200', (text) => {
    expect(findingOf(reply(200, text))).toEqual({ found: JSON.parse(text) });
  });

  test('is absent on a 404, whatever the body', () => {
    for (const text of ['', '{"id":"a"}', '<html>'])
      expect(findingOf(reply(404, text))).toEqual({ absent: true });
  });

  test.each(['', 'null', '[]', '[{"id":"a"}]', '"a"', '7', '<html>', '{"id":'])(
    'is unknown on a 200 with the body %j, which is no record',
    (text) => {
      expect(findingOf(reply(200, text))).toEqual({
        unknown: 'the Catalog answered 200 without a JSON record',
      });
    },
  );

  test('is unknown on every other status, even with a record in the body', () => {
    for (const status of STATUSES.filter((code) => code !== 200 && code !== 404)) {
      const finding = findingOf(reply(status, '{"id":"a"}'));
      expect({ status, names: Object.keys(finding) }).toEqual({ status, names: ['unknown'] });
    }
  });
});

describe('when to come back', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  test.each<[string, number]>([
    ['0', 0],
    ['120', 120_000],
    [' 5 ', 5_000],
    ['86400', DAY_MS],
    ['86401', DAY_MS],
    ['9'.repeat(400), DAY_MS],
    ['Tue, 01 Jan 2030 00:00:30 GMT', 30_000],
    ['Mon, 31 Dec 2029 23:59:30 GMT', 0],
    ['Fri, 01 Jan 2100 00:00:00 GMT', DAY_MS],
  ])('is read from Retry-After: %s', (retryAfter, retryAfterMs) => {
    expect(answerOf(reply(503, '', retryAfter))).toMatchObject({ kind: 'unknown', retryAfterMs });
    expect(answerOf(reply(429, '', retryAfter))).toMatchObject({ kind: 'unknown', retryAfterMs });
    expect(findingOf(reply(503, '', retryAfter))).toMatchObject({ retryAfterMs });
  });

  test.each([null, '', ' ', 'soon', 'in 5 minutes', '5s', 'Infinity', '-5', '1.5', 'soon 5'])(
    'is left open by Retry-After: %j',
    (retryAfter) => {
      expect(answerOf(reply(503, '', retryAfter))).toStrictEqual({
        kind: 'unknown',
        reason: 'the Catalog answered 503',
      });
      expect(findingOf(reply(503, '', retryAfter))).toStrictEqual({ unknown: 'the Catalog answered 503' });
    },
  );
});
