import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { run } from './run.js';

const KEY = 'lh_key';
const ID = '01980000-0000-7000-8000-000000000001';
const PROBLEM = { type: 'urn:longhaul:problem:not-found', title: 'Not found' };
const JOB = {
  jobId: ID,
  type: 'demo.wait',
  status: 'queued',
  progress: 0,
  detail: null,
  version: 1,
  generation: 1,
  tasks: { total: 2, completed: 0, failed: 0, canceled: 0 },
  result: null,
  error: null,
  payload: null,
  cancelReceipt: null,
  createdAt: '2026-01-02T03:04:05.678Z',
  startedAt: null,
  finishedAt: null,
};
const SCHEDULE = {
  scheduleId: ID,
  name: 'nightly',
  status: 'active',
  cron: '0 2 * * *',
  every: null,
  timezone: 'Europe/Berlin',
  job: { type: 'demo.wait' },
  runs: 0,
  pause: null,
  next: ['2026-01-03T01:00:00.000Z', '2026-01-04T01:00:00.000Z'],
};
const SLOTS = [
  {
    slot: '2026-01-02T01:00:00.000Z',
    until: null,
    count: 1,
    outcome: 'fired',
    jobId: ID,
    jobStatus: 'completed',
    note: null,
  },
  {
    slot: '2025-12-30T01:00:00.000Z',
    until: '2026-01-01T01:00:00.000Z',
    count: 3,
    outcome: 'merged',
    jobId: null,
    jobStatus: null,
    note: 'x\u001b[2J',
  },
];

let folder: string;
let server: Server;
let url: string;
let page: unknown;
let refused: unknown;
let received: { path: string; key?: string; body?: unknown }[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-cli-'));
  page = { jobs: [JOB], nextCursor: null };
  refused = undefined;
  received = [];
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const [path = '', key] = [request.url, request.headers['idempotency-key']?.toString()];
    received.push({ path, ...(key && { key }), ...(text && { body: JSON.parse(text) }) });
    const [status, body] =
      request.headers.authorization === `Bearer ${KEY}`
        ? answer(`${request.method} ${path.split('?')[0]}`)
        : [401, { ...PROBLEM, status: 401, detail: 'A valid API key is needed.' }];
    const type = status < 400 ? 'application/json' : 'application/problem+json';
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  await close();
  await rm(folder, { recursive: true });
});

function answer(route: string): [number, unknown] {
  if (route === 'POST /jobs' && refused) return [400, refused];
  if (route === 'POST /jobs') return [201, { ...JOB, success: true }];
  if (route === 'GET /jobs') return [200, page];
  if (route === `POST /jobs/${ID}/cancel`) {
    return [200, { ...JOB, status: 'canceled', cancelReceipt: { state: 'stopped', reason: null } }];
  }
  if (route === 'POST /schedules') return [201, SCHEDULE];
  if (route === 'GET /schedules') return [200, { schedules: [SCHEDULE], nextCursor: 'more' }];
  if (route === 'POST /schedules/preview') return [200, { next: SCHEDULE.next }];
  if (route === `GET /schedules/${ID}/slots`) return [200, { slots: SLOTS, nextCursor: null }];
  if (route === `POST /schedules/${ID}/trigger`) return [201, JOB];
  if (route === `POST /schedules/${ID}/pause`) return [200, { ...SCHEDULE, status: 'paused' }];
  if (route.endsWith(`/schedules/${ID}`) || route === `POST /schedules/${ID}/resume`) return [200, SCHEDULE];
  return [404, { ...PROBLEM, status: 404, detail: 'There is no job of this id.\u001b[2J' }];
}

async function close(): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

async function longhaul(words: string[], { env = {}, stdin = '' } = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const exitCode = await run(words, {
    stdout,
    stderr,
    stdin: Readable.from([stdin]),
    devFile: join(folder, 'dev.json'),
    env: { LONGHAUL_URL: url, LONGHAUL_API_KEY: KEY, ...env },
  });
  return { exitCode, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

describe('schedules', () => {
  test('makes one and prints its id alone', async () => {
    const words = [
      'schedules',
      'create',
      'nightly',
      'demo.wait',
      '--cron',
      '0 2 * * *',
      '--timezone',
      'Europe/Berlin',
    ];
    const made = await longhaul([...words, '--payload', '{"steps":2}', '--overlap', 'skip']);
    expect(made).toMatchObject({ exitCode: 0, out: `${ID}\n` });
    expect(made.err).toContain('2026-01-03T01:00:00.000Z');
    const job = { type: 'demo.wait', payload: { steps: 2 } };
    const body = { name: 'nightly', cron: '0 2 * * *', timezone: 'Europe/Berlin', overlap: 'skip', job };
    expect(received).toEqual([{ path: '/schedules', body }]);
  });

  test.each([
    [
      ['list', '--limit', '1'],
      /^0198\S+ {2}active {2}0 2 \* \* \* Europe\/Berlin {2}demo\.wait {2}2026\S+ {2}nightly\n$/,
    ],
    [['show', ID], /"nightly"/],
    [['preview', '--every', '1h'], /^2026-01-03T01:00:00\.000Z\n2026-01-04T01:00:00\.000Z\n$/],
    [['pause', ID, '--reason', 'ops'], /^Schedule 0198\S+ is paused\.\n$/],
    [['resume', ID], /^Schedule 0198\S+ is active, next at 2026\S+\.\n$/],
    [['trigger', ID], /^0198\S+\n$/],
    [['delete', ID], /^Schedule 0198\S+ is deleted\.\n$/],
    [
      ['slots', ID, '--outcome', 'fired'],
      /^2026\S+ {2}fired {2}0198\S+ completed\n2025\S+ to 2026\S+ \(3\) {2}merged {2}x.*\n$/,
    ],
  ])('%j', async (words, said) => {
    const { exitCode, out } = await longhaul(['schedules', ...words]);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: expect.stringMatching(said) });
    expect(out).not.toContain('\u001b');
  });
});

describe('submit', () => {
  test('prints the id alone and sends what was asked', async () => {
    const words = ['submit', 'demo.wait', '--payload', '{"steps":2}', '--tasks', '2', '--attempts', '4'];
    const more = ['--failure-policy', 'continue', '--idempotency-key', 'k1'];
    expect(await longhaul([...words, ...more])).toMatchObject({ exitCode: 0, out: `${ID}\n` });
    const body = {
      type: 'demo.wait',
      payload: { steps: 2 },
      numTask: 2,
      attempts: 4,
      failurePolicy: 'continue',
    };
    expect(received).toEqual([{ path: '/jobs', key: 'k1', body }]);
  });

  test('takes the payload from a file and from standard input', async () => {
    const file = join(folder, 'payload.json');
    await writeFile(file, '[1]');
    await longhaul(['submit', 'a', '--payload', `@${file}`]);
    await longhaul(['submit', 'a', '--payload', '-'], { stdin: '"two"' });
    expect(received.map(({ body }) => body)).toEqual([
      { type: 'a', payload: [1] },
      { type: 'a', payload: 'two' },
    ]);
  });

  test.each([
    [['--payload', '{a:1}'], /^The payload is not JSON: [^\n]+\n$/],
    [['--payload', '@/nowhere/x.json'], /^The file \/nowhere\/x\.json cannot be read \(ENOENT\)\.\n$/],
    [['--payload', '-'], /^What came on standard input is not JSON/],
    [['--tasks', '0'], /whole number from 1 on/],
    [['--attempts', '1.5'], /whole number from 1 on/],
    [['--failure-policy', 'maybe'], /fail-fast, continue/],
    [['--idempotency-key', 'a b'], /without spaces/],
    [['--url', 'ftp://x'], /^The URL of the service must look like http:/],
    [['--unknown'], /unknown option/],
  ])('refuses %j before anything is sent', async (words, sentence) => {
    const { exitCode, out, err } = await longhaul(['submit', 'a', ...words], { stdin: 'no' });
    expect(err).toMatch(sentence);
    expect([exitCode, out, received]).toEqual([2, '', []]);
  });
});

describe('list', () => {
  test('prints a table, and says when there is more', async () => {
    page = {
      jobs: [JOB, { ...JOB, type: 'evil\u001b[31m', status: 'completed', progress: 100 }],
      nextCursor: 'abc',
    };
    const { exitCode, out, err } = await longhaul(['list', '--limit', '2', '--cursor', 'x y']);
    expect(exitCode).toBe(0);
    expect(out.replaceAll(ID, 'ID').split('\n')).toEqual([
      `JOB${' '.repeat(35)}TYPE       STATUS     PROGRESS  TASKS  CREATED`,
      'ID  demo.wait  queued          0 %    0/2  2026-01-02 03:04:05Z',
      'ID  evil [31m  completed     100 %    0/2  2026-01-02 03:04:05Z',
      '',
    ]);
    expect(err).toBe('There are more: add --cursor abc\n');
    expect(received[0]?.path).toBe('/jobs?limit=2&cursor=x+y');
  });

  test('prints the answer as JSON without what a terminal would obey', async () => {
    page = { jobs: [{ ...JOB, type: 'x\u001b\u009b', extra: 1 }], nextCursor: null };
    const { out } = await longhaul(['list', '--json']);
    expect(JSON.parse(out)).toEqual(page);
    expect(out).not.toMatch(/[^\n\x20-\x7e]/);
  });

  test('says that there is nothing', async () => {
    page = { jobs: [], nextCursor: null };
    expect(await longhaul(['list'])).toEqual({ exitCode: 0, out: '', err: 'You have no jobs yet.\n' });
  });
});

describe('cancel', () => {
  test('tells how the stop goes', async () => {
    const { exitCode, out } = await longhaul(['cancel', ID, '--reason', 'wrong folder']);
    expect([exitCode, out]).toEqual([0, `Job ${ID} is canceled: nothing of it runs any more.\n`]);
    expect(received).toEqual([{ path: `/jobs/${ID}/cancel`, body: { reason: 'wrong folder' } }]);
  });

  test.each(['..', 'a/b', ''])('refuses the id "%s"', async (id) => {
    const err = expect.stringContaining('as `npm run cli -- list` shows it');
    expect(await longhaul(['cancel', id])).toMatchObject({ exitCode: 2, out: '', err });
    expect(received).toEqual([]);
  });
});

describe('a failure is one sentence', () => {
  test.each([['list'], ['watch', ID], ['cancel', ID], ['submit', 'a']])(
    'when nobody answers: %s',
    async (...words) => {
      await close();
      const { exitCode, out, err } = await longhaul(words);
      expect([exitCode, out]).toEqual([1, '']);
      expect(err).toBe(
        `The service at ${url} cannot be reached (ECONNREFUSED): start one with \`npm run quickstart\`, or give another --url.\n`,
      );
    },
  );

  test.each(['', 'lh_wrong'])('when the key is missing or wrong: "%s"', async (key) => {
    const { exitCode, err } = await longhaul(['list'], { env: { LONGHAUL_API_KEY: key } });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^[^\n]*keys create --owner[^\n]*LONGHAUL_API_KEY[^\n]*\n$/);
  });

  test('which names the options that are wrong', async () => {
    const errors = [
      { pointer: '/numTask', message: 'At most 10000 tasks.' },
      { pointer: '/payload/steps', message: 'Too big.' },
      { pointer: 'Idempotency-Key', message: 'Too long.' },
      { pointer: '/constructor', message: 'Not known.' },
      { pointer: '/attempts', message: 'At most 100.' },
    ];
    const shown = errors.slice(0, 4).map(({ pointer, message }) => `${pointer}: ${message}`);
    refused = { ...PROBLEM, status: 400, detail: shown.join('; '), errors };
    expect(await longhaul(['submit', 'a', '--tasks', '999999'])).toEqual({
      exitCode: 1,
      out: '',
      err:
        '--tasks: At most 10000 tasks.; --payload /steps: Too big.; --idempotency-key: Too long.; ' +
        '/constructor: Not known. --attempts: At most 100.\n',
    });
  });

  test('when there is no such job', async () => {
    const watched = await longhaul(['watch', ID.replace('1', '2')]);
    expect(watched).toEqual({ exitCode: 1, out: '', err: 'There is no job of this id. [2J\n' });
  });

  test('when the answer is none of Longhaul', async () => {
    page = { hello: 'world' };
    const { exitCode, err } = await longhaul(['list']);
    expect([exitCode, err]).toEqual([1, expect.stringMatching(/is the URL right\?\n$/)]);
  });
});

const usage = (rest: string) => expect.stringMatching(`^Usage: npm run cli -- ${rest}`);

test('help is no failure, and no command is one', async () => {
  expect(await longhaul(['--help'])).toMatchObject({ exitCode: 0, err: '', out: usage('\\[options') });
  expect(await longhaul(['watch', '--help'])).toMatchObject({ exitCode: 0, out: usage('watch \\[options') });
  expect(await longhaul([])).toMatchObject({ exitCode: 2, out: '' });
});
