import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let pages: Server;
let origin: string;
let browser: Browser;

beforeAll(async () => {
  if (!existsSync(CHROMIUM))
    throw new Error(
      `There is no browser at ${CHROMIUM}: install Debian's package chromium, or name one in CHROMIUM.`,
    );
  // The server that the page came from: it holds the key, and gives out tickets.
  pages = createServer(async (request, response) => {
    if (request.url !== '/ticket')
      return response.setHeader('content-type', 'text/html').end('<title>page</title>');
    const { body } = await alice.send('POST', '/ws-tickets');
    return response.end(body.ticket);
  });
  await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
  database = await createTestDatabase();
  [service, browser] = await Promise.all([
    startService(serviceEnvironment(database.url, testRedis(), { CORS_ORIGINS: origin })),
    chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] }),
  ]);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
  await service?.stop();
  await database?.drop();
});

/** A page with the code of the documentation in it. */
async function openPage(at: string): Promise<Page> {
  const text = await readFile(new URL('../../docs/live-updates.md', import.meta.url), 'utf8');
  const examples = [...text.matchAll(/```js browser\n([\s\S]*?)```/g)].map(([, code]) => code);
  expect(examples).toHaveLength(2);
  const page = await browser.newPage();
  await page.goto(at);
  await page.addScriptTag({
    content: `${examples.join('\n')}\nvar told = [], sockets = [], failing = 0;\n// So that one can be cut.\nWebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this); } };\n var getTicket = () => failing-- > 0 ? Promise.reject(new Error('away')) : fetch('/ticket').then((answer) => answer.text());`,
  });
  return page;
}

interface Told {
  event: string;
  data: { jobId: string; status: string; present?: true };
}
const toldOn = (page: Page) => page.evaluate('told') as Promise<Told[]>;
const job = { type: 'demo.wait', payload: { durationMs: 300, steps: 2 } };

test('a page hears of a job by a WebSocket, also after its connection was cut and its next ticket failed', async () => {
  const page = await openPage(origin);
  await page.evaluate(`listen('${service.url}', getTicket, (message) => told.push(message))`);
  await eventually(async () => expect((await toldOn(page))[0]?.event).toBe('subscribed'));
  const statuses = async (jobId: string) =>
    (await toldOn(page))
      .filter(({ event, data }) => event === 'job-update' && data.jobId === jobId)
      .map(({ data }) => data.status);
  const first = await alice.submit(job);
  await eventually(async () => expect(await statuses(first.jobId)).toContain('completed'));
  await page.evaluate(`failing = 1; sockets.at(-1).close()`);
  const second = await alice.submit(job);
  await alice.until(second.jobId);
  await eventually(async () => expect(await statuses(second.jobId)).toContain('completed'), {
    timeout: 20_000,
  });
  expect(await page.evaluate('sockets.length')).toBeGreaterThan(1);
  expect((await statuses(second.jobId)).filter((status) => status === 'completed')).toHaveLength(1);
}, 60_000);

test('a page follows one job by an EventSource until its end', async () => {
  const page = await openPage(origin);
  const { jobId } = await alice.submit(job);
  await page.evaluate(
    `follow('${service.url}', '${jobId}', getTicket, (event, data) => told.push({ event, data }))`,
  );
  const told = (await toldOn(page))
    .filter(({ event }) => event === 'job-update')
    .map(({ data }) => data.status);
  expect([told[0], told.at(-1)]).toEqual(['queued', 'completed']);
}, 60_000);

test('a page that follows a job which is not there gives up', async () => {
  const page = await openPage(origin);
  const outcome = await page.evaluate(`
    const waits = setTimeout;
    setTimeout = (run, ms, ...given) => waits(run, ms / 100, ...given);
    follow('${service.url}', '019a0000-0000-7000-8000-000000000000', getTicket, () => {}).catch(({ message }) => message)`);
  expect(outcome).toMatch(/cannot be had/);
}, 60_000);

test('input 80: a page of another origin gets nothing', async () => {
  const page = await openPage(origin.replace('127.0.0.1', 'localhost'));
  const outcome = await page.evaluate(`getTicket().then((ticket) => new Promise((resolve) => {
    const socket = new WebSocket('${service.url.replace('http', 'ws')}/', ['longhaul', 'longhaul.ticket.' + ticket]);
    socket.onopen = () => resolve('open');
    socket.onclose = ({ code }) => resolve(code);
  }))`);
  expect(outcome).toBe(1006);
}, 60_000);
