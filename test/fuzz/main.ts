import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRedis } from '../../scripts/local/redis.js';
import { withTemplate } from '../model/template.js';
import { fuzzService } from './fuzz-world.js';

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '5000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const [seed, requests] = [Number(values.seed), Number(values.requests)];

async function run(): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-fuzz-'));
  const redis = await startRedis({ dir: folder, durable: false });
  process.env['LONGHAUL_TEST_REDIS_URL'] = redis.url;
  try {
    print(`seed ${seed}; the same requests again with --seed ${seed} --requests ${requests}`);
    const began = performance.now();
    const { statuses, routes, faults } = await fuzzService(seed, requests);
    const asked = Object.values(statuses).reduce((sum, count) => sum + count, 0);
    for (const [name, { asked, done }] of Object.entries(routes)) print(`  ${name}: ${asked}, ${done} done`);
    print(`by status: ${JSON.stringify(statuses)}`);
    faults.forEach(print);
    print(`${asked} requests in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    print(`${Math.max(0, asked - faults.length)} passed, ${faults.length} failed`);
    return faults.length === 0 && asked >= requests;
  } finally {
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

process.exit((await withTemplate(run)) ? 0 : 1);
