import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** What the process of the servers writes in its only line. */
interface Answer {
  database?: string;
  redis?: string;
  /** The folder with the service as it was compiled for this run. */
  compiled?: string;
  failure?: string;
}

declare global {
  var longhaulTestServers: ChildProcess | undefined;
}

/**
 * Starts one Postgres (with a migrated template database) and one Redis for the whole run, and compiles the service
 * for it. Several Jest projects may name this file; the servers are started once. They run in a process of their own,
 * see servers.ts.
 */
export default async function globalSetup(config: { rootDir: string }): Promise<void> {
  if (globalThis.longhaulTestServers) return;
  // Jest's own flags must not reach the child.
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const servers = spawn(
    process.execPath,
    ['--import', '@swc-node/register/esm-register', 'test/support/servers.ts'],
    {
      cwd: config.rootDir,
      env,
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  globalThis.longhaulTestServers = servers;
  const lines = createInterface({ input: servers.stdout });
  const first = await Promise.race([once(lines, 'line'), once(lines, 'close')]);
  const answer = JSON.parse(String(first[0] ?? '{"failure":"their process ended early"}')) as Answer;
  if (!answer.database || !answer.redis) throw new Error(`The test servers did not start: ${answer.failure}`);
  process.env['LONGHAUL_TEST_DATABASE_URL'] = answer.database;
  process.env['LONGHAUL_TEST_REDIS_URL'] = answer.redis;
  process.env['LONGHAUL_TEST_COMPILED'] = answer.compiled;
}
