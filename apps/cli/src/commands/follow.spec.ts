import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { eventually } from '../../../../test/support/eventually.js';
import { run } from '../run.js';

const ID = '01980000-0000-7000-8000-000000000001';
const QUEUED = {
  jobId: ID,
  type: 'demo.wait',
  status: 'queued',
  progress: 0,
  version: 1,
  error: null,
  tasks: { total: 2, completed: 0, failed: 0, canceled: 0 },
  cancelReceipt: null,
  createdAt: '2026-01-02T03:04:05.678Z',
  startedAt: null,
  finishedAt: null,
};
const ACTIVE = { ...QUEUED, status: 'active', progress: 50 };
const DONE = { ...QUEUED, status: 'completed', progress: 100, finishedAt: '2026-01-02T03:04:08.700Z' };

let server: Server;
let url: string;
/** What the service knows: each look at the progress goes one on, and the last one stays. */
let states: Record<string, unknown>[];

beforeEach(async () => {
  server = createServer((request, response) => {
    if (request.url?.endsWith('/progress') && states.length > 1) states.shift();
    const { type, ...progress } = states[0] ?? {};
    const body = request.url?.endsWith('/progress') ? progress : { type, ...progress };
    response.writeHead(request.method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  });
  await listen(0);
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(close);

async function listen(port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}

async function close(): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

async function watch({
  words = ['watch', ID],
  tty = false,
  interrupted = false,
  heard = [],
}: { words?: string[]; tty?: boolean; interrupted?: boolean; heard?: string[] } = {}) {
  const stdout = Object.assign(new PassThrough(), tty ? { isTTY: true, columns: 100 } : {});
  stdout.setEncoding('utf8').on('data', (text: string) => heard.push(text));
  const stderr = new PassThrough();
  const onInterrupt = (stop: (exitCode: number) => void) => {
    if (interrupted) void eventually(() => expect(heard).not.toEqual([])).then(() => stop(130));
    return () => {};
  };
  const env = { LONGHAUL_URL: url, LONGHAUL_API_KEY: 'lh_key' };
  const exitCode = await run(words, { stdout, stderr, env, onInterrupt, devFile: '/nowhere/dev.json' });
  return { exitCode, out: heard.join(''), err: String(stderr.read() ?? '') };
}

describe('a job that ends', () => {
  const error = { code: 'handler_error', message: 'no\u001b]0;x\u0007disk', taskId: 't1', attempt: 3 };
  const cancelReceipt = { state: 'stopped', reason: 'too slow' };

  test.each([
    [DONE, 0, 'completed in 00:03.'],
    [{ ...DONE, status: 'failed', error }, 1, 'failed: handler_error: no ]0;x disk (task t1, attempt 3)'],
    [{ ...DONE, status: 'canceled', cancelReceipt }, 3, 'was canceled: too slow'],
  ])('is told by a line for each change and the exit code', async (end, exitCode, sentence) => {
    states = [ACTIVE, ACTIVE, ACTIVE, end];
    const watched = await watch();
    expect(watched).toMatchObject({ exitCode, err: '' });
    const lines = watched.out.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^demo\.wait {3}50 % {2}0\/2 tasks {2}active {2}\S+$/);
    expect(lines[2]).toBe(`Job ${ID} ${sentence}`);
  });

  test('is drawn as a bar on a terminal, which gets its cursor back', async () => {
    states = [ACTIVE, ACTIVE, DONE];
    const { out } = await watch({ tty: true });
    expect(out).toMatch(/demo\.wait {2}█{12}░{12} {3}50 % {2}0\/2 tasks {2}active {2}/);
    expect(out).toMatch(/█{24} {2}100 % {2}0\/2 tasks {2}completed {2}00:03/);
    expect(out.lastIndexOf('\u001b[?25h')).toBeGreaterThan(out.lastIndexOf('\u001b[?25l'));
  });

  test('can be watched from its submit on', async () => {
    states = [QUEUED, DONE];
    const { exitCode, out } = await watch({ words: ['submit', 'demo.wait', '--watch'] });
    expect(exitCode).toBe(0);
    expect(out).toContain(`Job ${ID} completed in 00:03.`);
  });
});

test('an interrupted watch leaves the job running and the terminal in order', async () => {
  states = [ACTIVE];
  const { exitCode, out, err } = await watch({ tty: true, interrupted: true });
  expect(exitCode).toBe(130);
  expect(err).toMatch(/^Job \S+ goes on: `npm run cli -- watch \S+` .* `npm run cli -- cancel \S+` .*\n$/);
  expect(out.lastIndexOf('\u001b[?25h')).toBeGreaterThan(out.lastIndexOf('\u001b[?25l'));
});

test('a service that is started again is waited for', async () => {
  states = [ACTIVE];
  const { port } = server.address() as AddressInfo;
  const heard: string[] = [];
  const watching = watch({ heard });
  // The first look is not repeated.
  await once(server, 'request');
  await once(server, 'request');
  await close();
  await eventually(() => expect(heard.join('')).toContain('waiting for the service'));
  states = [DONE];
  await listen(port);
  expect((await watching).exitCode).toBe(0);
});
