import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { secretHider } from './hide-secrets.js';
import { showOnly } from './log-fields.js';
import { createLogger, type Logger, type LogRules } from './logger.js';

/** What a logger writes, as text and read back. */
function logged(use: (logger: Logger) => void, rules?: LogRules) {
  const lines: string[] = [];
  use(createLogger('trace', { role: 'api' }, { write: (line) => lines.push(line) }, rules));
  const text = lines.join('');
  return {
    text,
    lines: text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

const KEY = `lh_AAAAAAAA_${'B'.repeat(43)}_70412421`;
const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw';

describe('a line of the log', () => {
  test('shows the fields that are allowed, also those of a child', () => {
    const { lines } = logged((logger) =>
      logger.child({ jobId: 'j' }).info({ ownerId: 'ann', tasks: 3 }, 'done'),
    );
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.any(String),
        pid: process.pid,
        role: 'api',
        jobId: 'j',
        ownerId: 'ann',
        tasks: 3,
        msg: 'done',
      },
    ]);
  });

  test('names a field that is not, and shows nothing of it, also in a child', () => {
    const hidden = {
      password: 'hush',
      payload: { password: 'hush' },
      headers: { cookie: 'hush' },
      body: ['hush'],
    };
    const { text, lines } = logged((logger) => logger.child({ token: 'hush' }).warn(hidden, 'no'));
    expect(text).not.toContain('hush');
    expect(lines[0]).toMatchObject({ password: '[not shown]', payload: '[not shown]', token: '[not shown]' });
  });

  test('shows no object under a name that is allowed', () => {
    const nested = {
      reason: { password: 'hush' },
      tags: [{ password: 'hush' }, ['hush']],
      code: () => 'hush',
    };
    expect(logged((logger) => logger.info(nested, 'no')).text).not.toContain('hush');
  });

  test('shows what the settings allow besides', () => {
    const { lines } = logged((logger) => logger.info({ folder: '/data' }, 'yes'), { fields: ['folder'] });
    expect(lines[0]).toMatchObject({ folder: '/data' });
  });

  test('tells of an error its name, code, text and stack, and not what a library has put on it', () => {
    const error = Object.assign(new TypeError('broken'), {
      code: 'P2002',
      meta: { values: ['hush'] },
      cause: 'hush',
    });
    const { text, lines } = logged((logger) => logger.error({ err: error }, 'no'));
    expect(text).not.toContain('hush');
    expect(lines[0]?.['err']).toEqual({
      type: 'TypeError',
      code: 'P2002',
      message: 'broken',
      stack: expect.any(String),
    });
    expect(logged((logger) => logger.error(error)).text).not.toContain('hush');
  });

  test('input 61: is one line, whatever is written, and of a bounded length', () => {
    const forged = '\r\n{"level":"fatal","msg":"forged"}\u2028\u001b[31m';
    const { lines, text } = logged((logger) =>
      logger.info({ ownerId: forged, reason: 'x'.repeat(1e6) }, forged),
    );
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'info', ownerId: forged });
    expect(text).not.toContain('\u001b');
    expect(text.length).toBeLessThan(3000);
  });
});

describe('secrets', () => {
  const secrets = ['p%40ss"wörd-of-db', 'catalog-token-1', 'short'];
  const hide = secretHider(secrets);

  test.each([
    ['a setting', 'token=catalog-token-1.'],
    ['a password as it is written in an address', 'p%40ss"wörd-of-db'],
    ['a password as it is', 'p@ss"wörd-of-db'],
    ['a password in JSON', JSON.stringify({ reason: 'p@ss"wörd-of-db' })],
    ['the credentials of any address', 'postgresql://me:catalog-token-1@db/x'],
  ])('are hidden: %s', (_what, text) => {
    expect(hide(text)).toContain('[hidden]');
    for (const part of ['catalog-token', 'rd-of-db']) expect(hide(text)).not.toContain(part);
  });

  test.each([
    KEY,
    KEY.slice(0, 40),
    `${KEY}x`,
    TOKEN,
    TOKEN.slice(0, 50),
    'Bearer abcdefgh1234',
    'https://a:b@c/',
  ])('are known by their look: %s', (text) => {
    const told = hide(`it was ${text} that came`);
    expect(told).toContain('[hidden]');
    expect(told).toMatch(/^it was .*that came$/);
    expect(told).not.toMatch(/BBBB|eyJ|abcdefgh|a:b/);
  });

  test('leave ordinary words alone', () => {
    const text =
      '{"msg":"a short bearer of basic knowledge","route":"/jobs/:jobId","url":"http://127.0.0.1:3000"}';
    expect(hide(text)).toBe(text);
  });

  test('take linear time to look for', () => {
    const texts = [
      'a'.repeat(200_000),
      'eyJ-'.repeat(50_000),
      'http://'.repeat(30_000),
      'lh_AAAAAAAA_'.repeat(20_000),
    ];
    const before = process.cpuUsage();
    for (const text of texts) hide(text);
    // Of the processor: what else runs on the machine does not count.
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(2_000);
  });
});

test('every field that our own code logs is allowed', () => {
  const unknown = new Set<string>();
  const show = showOnly();
  const files = ['libs', 'apps'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
  );
  for (const file of files) {
    if (!file.endsWith('.ts') || file.endsWith('.spec.ts')) continue;
    const calls = readFileSync(file, 'utf8').matchAll(
      /logger\.(?:fatal|error|warn|info|debug|child)\(\s*\{([^{}]*)\}/g,
    );
    for (const [, fields = ''] of calls) {
      for (const field of fields.split(',')) {
        const name = /^\s*(\w+)/.exec(field)?.[1];
        if (name !== undefined && show({ [name]: 1 })[name] !== 1) unknown.add(`${name} in ${file}`);
      }
    }
  }
  expect([...unknown]).toEqual([]);
});
