import { spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { apiUser } from '../support/api-client.js';
import { createTestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService } from '../support/service.js';

test('the example of the documentation hears of a job in Node', async () => {
  const text = await readFile(new URL('../../docs/live-updates.md', import.meta.url), 'utf8');
  const [, code = ''] = /```js node\n([\s\S]*?)```/.exec(text) ?? [];
  // Beside the sources, where its package is found.
  const file = new URL('./.node-example.mjs', import.meta.url);
  await writeFile(file, code);
  const database = await createTestDatabase();
  const service = await startService(serviceEnvironment(database.url, testRedis()));
  const alice = await apiUser(service, 'alice');
  const env = { PATH: process.env['PATH'], LONGHAUL_URL: service.url, LONGHAUL_KEY: alice.key };
  const child = spawn(process.execPath, [file.pathname], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let printed = '';
    child.stdout.on('data', (chunk) => (printed += String(chunk)));
    await eventually(() => expect(printed).toMatch(/^subscribed/));
    const { jobId } = await alice.submit({ type: 'demo.wait', payload: { durationMs: 100 } });
    await eventually(() => expect(printed).toContain(`job-update ${jobId} completed 100`));
  } finally {
    child.kill();
    await service.stop();
    await database.drop();
    await rm(file);
  }
}, 60_000);
