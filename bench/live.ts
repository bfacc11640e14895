import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { ApiUser } from '../test/support/api-client.js';
import type { TestService } from '../test/support/service.js';
import { quantile, withServices } from './with-services.js';

const SOCKETS = 1000;
const JOBS_PER_SECOND = 40;
const TASKS_PER_JOB = 25;
const SECONDS = 20;
/** The first seconds warm up. */
const WARM_SECONDS = 5;

/**
 * How long it takes from the transaction that ends a task until a socket has the message, by one clock. A thousand owners
 * with a socket each on one api process; the jobs are submitted through another one.
 */
export function measureLive(): Promise<void> {
  return withServices(async ({ start, databaseUrl }) => {
    const many = { MAX_CONCURRENT_TASKS: '50' };
    const [api, submits] = await Promise.all([start('api'), start('api'), start('task-worker', many)]);
    const keys = await withClient(databaseUrl, async (client) => {
      const made: string[] = [];
      for (let at = 0; at < SOCKETS; at++)
        made.push(
          (
            await issueApiKey(client, {
              ownerId: `owner-${at}`,
              name: 'bench',
              scopes: ['jobs:read', 'jobs:write'],
            })
          ).text,
        );
      return made;
    });
    const late: number[] = [];
    let measuring = false;
    const sockets: WebSocket[] = [];
    let before = 0;
    for (let at = 0; at < SOCKETS; at += 50) {
      const opened = keys
        .slice(at, at + 50)
        .map((key) => connect(api, key, (told) => measuring && late.push(told)));
      sockets.push(...(await Promise.all(opened)));
      // The first ones bring code and connections with them.
      if (at === 50) await delay(2000);
      if (at === 50) before = await memoryOf(api);
    }
    await delay(1000);
    const perSocket = ((await memoryOf(api)) - before) / (SOCKETS - 100);
    const users = keys.map((key) => new ApiUser(submits.url, key));
    const failures: unknown[] = [];
    for (let tick = 0; tick < SECONDS * 10; tick++) {
      measuring = tick >= WARM_SECONDS * 10;
      for (let nth = 0; nth < JOBS_PER_SECOND / 10; nth++) {
        const user = users[(tick * 10 + nth) % SOCKETS] as ApiUser;
        const body = { type: 'demo.wait', numTask: TASKS_PER_JOB, payload: { durationMs: 0 } };
        user.submit(body).catch((error: unknown) => failures.push(error));
      }
      await delay(100);
    }
    const rate = late.length / (SECONDS - WARM_SECONDS);
    sockets.forEach((socket) => socket.terminate());
    const ms = (share: number) => quantile(late, share).toFixed(0);
    console.log(
      `${SOCKETS} sockets, ${rate.toFixed(0)} ends of tasks a second told, load ${loadavg()[0]?.toFixed(1)}`,
    );
    console.log(
      `from the transaction to the receipt: p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms, at most ${ms(1)} ms`,
    );
    console.log(
      `memory: ${(perSocket / 1024).toFixed(1)} KiB per socket; ${failures.length} submits failed ${String(failures[0] ?? '')}`,
    );
  });
}

async function connect(api: TestService, key: string, told: (lateMs: number) => void): Promise<WebSocket> {
  const headers = { authorization: `Bearer ${key}` };
  const socket = new WebSocket(`${api.url.replace('http', 'ws')}/`, { headers });
  socket.on('message', (text) => {
    const now = Date.now();
    const { event, data } = JSON.parse(String(text)) as {
      event: string;
      data: { status: string; at: string };
    };
    if (event === 'task-update' && data.status === 'completed') told(now - Date.parse(data.at));
  });
  await once(socket, 'message');
  return socket;
}

async function memoryOf({ process: { pid } }: TestService): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)]);
  return Number(stdout) * 1024;
}
