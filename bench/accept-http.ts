import { Agent, request } from 'node:http';
import { apiUser, type ApiUser } from '../test/support/api-client.js';
import { inFlight } from './program.js';
import { inRounds, row } from './rounds.js';
import { type Bench, quantile } from './with-services.js';

const LANES = 100;
const POSTS = 1000;
const BODY = JSON.stringify({ type: 'demo.wait', payload: { durationMs: 0 } });

/** How many `POST /jobs` one api process answers with 201, asked by this process over 100 connections. */
export async function measureAcceptHttp({ start }: Bench): Promise<void> {
  const title = 'Accept over HTTP, 100 requests in flight';
  const line = row(['round', 'jobs/s', 'p50 ms', 'p99 ms']);
  console.log(`\n${title}\n\n${line.head}`);
  const alice = await apiUser(await start('api'), 'alice');
  const agent = new Agent({ keepAlive: true, maxSockets: LANES });
  const rates = await inRounds(async (round) => {
    const times: number[] = [];
    const took = await inFlight(POSTS, LANES, async () => times.push(await post(alice, agent)));
    const rate = (POSTS * 1000) / took;
    const [p50, p99] = [quantile(times, 0.5).toFixed(1), quantile(times, 0.99).toFixed(1)];
    if (round > 0) console.log(line.of([round, rate.toFixed(0), p50, p99]));
    return rate;
  });
  agent.destroy();
  const at = (share: number) => quantile(rates, share).toFixed(0);
  console.log(`\n  jobs/s: median ${at(0.5)}, least ${at(0)}, most ${at(1)}`);
  console.log(`${title}: ${at(0.5)} jobs per second.`);
}

/** Posts a job; answers the milliseconds until its answer was read. */
function post(user: ApiUser, agent: Agent): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${user.key}`,
      'content-type': 'application/json',
      'content-length': BODY.length,
    };
    const asked = request(`${user.url}/jobs`, { method: 'POST', agent, headers }, (response) => {
      response.resume().once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 201) resolve(performance.now() - begun);
        else reject(new Error(`POST /jobs answered ${response.statusCode}.`));
      });
    });
    asked.once('error', reject).end(BODY);
  });
}
