import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { Client } from 'pg';
import { type ApiUser, apiUser } from '../test/support/api-client.js';
import { describeMachine } from './machine.js';
import { row } from './rounds.js';
import { quantile, withServices } from './with-services.js';

/** Ended jobs that are there, nine of ten of them of the owner who lists. */
const JOBS = 1_000_000;
const DEPTH = 100_000;
const CONNECTIONS = 10;
const SECONDS = 5;
const ROUNDS = 3;
/** Everything that a submit may have is on; the limit of requests is asked, and never reached. */
const LIMITS = { RATE_LIMIT: '1000000', MAX_OPEN_JOBS: '9999999' };

type Target = Pick<autocannon.Options, 'url' | 'method' | 'headers' | 'body' | 'requests'>;

/** Submits and lists over HTTP with many jobs in the database, beside a route of Nest and Fastify that does nothing. */
export function measureHttp(): Promise<void> {
  return withServices(async (bench) => {
    console.log(await describeMachine(bench));
    const bare = fork(fileURLToPath(new URL('./bare-route.ts', import.meta.url)), {
      execArgv: ['--import', '@swc-node/register/esm-register'],
    });
    const exited = once(bare, 'exit');
    try {
      const [bareUrl] = (await once(bare, 'message')) as [string];
      const began = performance.now();
      await seed(bench.databaseUrl);
      console.log(`${JOBS} jobs were made in ${((performance.now() - began) / 1000).toFixed(0)} s\n`);
      const alice = await apiUser(await bench.start('api', LIMITS), 'alice');
      const cursor = await walk(alice);
      await compareRates(alice, `${bareUrl}/bare`, cursor);
    } finally {
      if (bare.connected) bare.disconnect();
      await exited;
    }
  });
}

/** Jobs a second apart, the newest last, as they are when they have ended. */
async function seed(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    `INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, outcome, failure_policy, max_attempts, resumable,
       finalize, payload, progress, tasks_total, tasks_completed, created_at, started_at, finished_at)
     SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
         || '8' || substr(md5(n::text), 4, 15))::uuid,
       CASE WHEN n % 10 = 0 THEN 'owner ' || n % 1000 ELSE 'alice' END, 'key:bench', 'demo.wait', 'default', 'completed',
       'completed', 'fail-fast', 3, false, false, '{"steps": 5, "durationMs": 500}', 100, 1, 1, at, at, at
     FROM generate_series(1, $1::int) n, LATERAL (SELECT now() - ($1::int - n) * interval '1 second' AS at) t`,
    [JOBS],
  );
  await client.query('VACUUM ANALYZE jobs');
  await client.end();
}

/** Goes to the depth page by page and tells what a page took at both ends; answers the cursor there. */
async function walk(alice: ApiUser): Promise<string> {
  const times: number[] = [];
  let cursor = '';
  for (let seen = 0; seen < DEPTH; seen += 200) {
    const begun = performance.now();
    const { body } = await alice.get(`/jobs?limit=200${cursor && `&cursor=${cursor}`}`);
    times.push(performance.now() - begun);
    cursor = body.nextCursor;
  }
  const [first, last] = [times.slice(10, 110), times.slice(-100)];
  console.log(
    `pages of 200, p50 and p99: ${told(first)} ms near the start, ${told(last)} ms at depth ${DEPTH}\n`,
  );
  return cursor;
}

const told = (times: number[]) => [0.5, 0.99].map((share) => quantile(times, share).toFixed(1)).join(' and ');

async function compareRates(alice: ApiUser, bareUrl: string, cursor: string): Promise<void> {
  const headers = { authorization: `Bearer ${alice.key}`, 'content-type': 'application/json' };
  const body = JSON.stringify({
    type: 'demo.wait',
    payload: { durationMs: 0 },
    labels: { project: 'bench' },
  });
  let key = 0;
  const setupRequest = (request: autocannon.Request) => ({
    ...request,
    headers: { ...headers, 'idempotency-key': `bench-${key++}` },
  });
  const list = `${alice.url}/jobs?limit=50`;
  const targets: Record<string, Target & { of?: string }> = {
    'bare GET': { url: bareUrl },
    'GET /jobs, first page': { url: list, headers, of: 'bare GET' },
    [`GET /jobs, depth ${DEPTH}`]: { url: `${list}&cursor=${cursor}`, headers, of: 'bare GET' },
    'bare POST': { url: bareUrl, method: 'POST', headers, body },
    'POST /jobs': {
      url: `${alice.url}/jobs`,
      method: 'POST',
      headers,
      body,
      requests: [{ setupRequest }],
      of: 'bare POST',
    },
  };
  const line = row(['round', 'requests/s', 'p50 ms', 'p99 ms', 'ratio']);
  console.log(`${CONNECTIONS} connections, ${SECONDS} s each\n\n${line.head}`);
  const rates = new Map<string, number[]>();
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, { of, ...target }] of Object.entries(targets)) {
      const { requests, latency, non2xx, errors } = await autocannon({
        ...target,
        connections: CONNECTIONS,
        duration: round === 0 ? 1 : SECONDS,
      });
      if (non2xx + errors > 0)
        throw new Error(`${name}: ${non2xx + errors} requests were not answered well.`);
      // The first one only warms up.
      if (round === 0) continue;
      rates.set(name, [...(rates.get(name) ?? []), requests.average]);
      const ratio = of === undefined ? '' : (requests.average / (rates.get(of)?.at(-1) ?? NaN)).toFixed(3);
      console.log(
        `${line.of([round, requests.average.toFixed(0), latency.p50, latency.p99, ratio])}  ${name}`,
      );
    }
  }
  for (const [name, each] of rates) {
    console.log(
      `${name}: ${quantile(each, 0.5).toFixed(0)} requests a second (${each.map((rate) => rate.toFixed(0)).join(', ')})`,
    );
  }
}
