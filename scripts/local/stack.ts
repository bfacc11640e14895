import { join } from 'node:path';
import { withDatabase } from '../db/database.js';
import { migrate } from '../db/migrate.js';
import { usableFolder } from './make-folder.js';
import { runningPostgres } from './postgres-data.js';
import { startPostgres } from './postgres.js';
import { endProcess } from './processes.js';
import { runningRedis, startRedis } from './redis.js';
import { takeStackLock } from './stack-lock.js';
import { type LocalServer, type Log } from './types.js';

/** How a stack is started. */
export interface StackOptions {
  /** Where its servers keep their files; made when absent. */
  dir: string;
  /** Whether what was written survives a crash of the machine. */
  durable?: boolean;
  log?: Log;
  /** Ends the start early; what was started by then is ended again. */
  signal?: AbortSignal;
  /** Servers that exist already, such as DATABASE_URL and REDIS_URL: none is started in their place. */
  given?: { databaseUrl?: string; redisUrl?: string };
}

/** A migrated database and a Redis. */
export interface Stack {
  databaseUrl: string;
  redisUrl: string;
  /** Ends what was started, and only that; may be called twice. */
  stop(): Promise<void>;
}

/** Starts what the service needs beside itself. One stack at a time runs on a folder. */
export async function startStack({ dir, durable, log, signal, given = {} }: StackOptions): Promise<Stack> {
  const wanted = { postgres: !given.databaseUrl, redis: !given.redisUrl };
  // When both exist already, nothing in the folder could be spoiled by two of us.
  const folder = wanted.postgres || wanted.redis ? await usableFolder(dir) : dir;
  const lock = wanted.postgres || wanted.redis ? await takeStackLock(folder) : undefined;
  const folders = { postgres: join(folder, 'servers/postgres'), redis: join(folder, 'servers/redis') };
  const running: { postgres?: LocalServer; redis?: LocalServer } = {};
  const stop = twiceSafe(() => inOrder([running.redis?.stop, running.postgres?.stop, lock?.release]));
  try {
    if (lock?.inherited) await endLeftovers(folders, log);
    await lock?.settled();
    signal?.throwIfAborted();
    const [postgres, redis] = await Promise.allSettled([
      wanted.postgres ? startPostgres({ dir: folders.postgres, durable, log, signal }) : undefined,
      wanted.redis ? startRedis({ dir: folders.redis, durable, log, signal }) : undefined,
    ]);
    if (postgres.status === 'fulfilled') running.postgres = postgres.value;
    if (redis.status === 'fulfilled') running.redis = redis.value;
    for (const result of [postgres, redis]) if (result.status === 'rejected') throw result.reason;
    signal?.throwIfAborted();
    const databaseUrl = given.databaseUrl || withDatabase(running.postgres?.url ?? '', 'longhaul');
    for (const name of await migrate(databaseUrl)) log?.(`Applied migration ${name}.`);
    return { databaseUrl, redisUrl: given.redisUrl || (running.redis?.url ?? ''), stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** A killed owner could not end its servers; they hold the folders, and nobody else was told of them. */
async function endLeftovers(folders: { postgres: string; redis: string }, log?: Log): Promise<void> {
  const [postgres, redis] = await Promise.all([
    runningPostgres(folders.postgres),
    runningRedis(folders.redis),
  ]);
  if (!postgres && !redis) return;
  log?.('Ending the servers of an earlier run that was killed.');
  if (redis) await endProcess(redis, 'SIGTERM');
  if (postgres) await endProcess(postgres, 'SIGINT');
}

/** Takes every step, also when one fails, and then throws what failed first. */
async function inOrder(steps: ((() => Promise<void>) | undefined)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) await step?.().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** Does it once; who asks again waits for the same and is not told of its failure a second time. */
function twiceSafe(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    if (done) return done.catch(() => {});
    done = act();
    return done;
  };
}
