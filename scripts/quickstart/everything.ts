import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { type RunningCatalog, startCatalog } from '../../apps/catalog-sim/src/catalog-server.js';
import { assertFree } from '../local/free-port.js';
import { makeFolder, usableFolder } from '../local/make-folder.js';
import { localFolder } from '../local/paths.js';
import { startStack } from '../local/stack.js';
import type { Log } from '../local/types.js';
import { assertReachable } from './given-redis.js';
import type { QuickstartOptions } from './options.js';
import { serviceLog, startService } from './service.js';

/** Everything that the quickstart runs. */
export interface Everything {
  url: string;
  apiKey: string;
  catalog: RunningCatalog;
  /** Ends all of it, the service first. */
  stop(): Promise<void>;
}

/** Where the quickstart's models come from and go to: all that its jobs may read and write. */
export const modelsFolder = join(localFolder, 'models');

const devFile = join(localFolder, 'dev.json');
const OWNER = 'quickstart';

/** Starts the databases, the simulated catalog and the service, and makes an API key. */
export async function startEverything(
  options: QuickstartOptions,
  say: Log,
  signal: AbortSignal,
): Promise<Everything> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const each of stops.splice(0).toReversed())
      await each().catch((error: Error) => say(`Something could not be ended: ${error.message}`));
  };
  const unlessStopping = (sentence: string) => (signal.aborted ? undefined : say(sentence));
  try {
    await usableFolder(localFolder);
    await assertFree(options.port);
    if (options.redisUrl) await assertReachable(options.redisUrl);
    const given = { databaseUrl: options.databaseUrl, redisUrl: options.redisUrl };
    const stack = await startStack({ dir: localFolder, given, log: unlessStopping, signal });
    stops.push(stack.stop);
    signal.throwIfAborted();
    const catalog = await startCatalog();
    stops.push(() => catalog.stop());
    await makeFolder(modelsFolder);
    const environment = {
      SERVICE_TYPE: 'all',
      HOST: '127.0.0.1',
      PORT: String(options.port),
      DATABASE_URL: stack.databaseUrl,
      REDIS_URL: stack.redisUrl,
      CATALOG_URL: catalog.url,
      INGEST_ROOTS: modelsFolder,
      // Who presses Ctrl-C does not want to wait: tasks that take longer are handed over.
      SHUTDOWN_GRACE: '3s',
    };
    const { url, ...service } = await startService(environment, options.dev, say, signal);
    stops.push(service.stop);
    const apiKey = await makeKey(stack.databaseUrl);
    await writeFile(devFile, JSON.stringify({ url, apiKey, databaseUrl: stack.databaseUrl }), {
      mode: 0o600,
    });
    stops.push(() => rm(devFile, { force: true }));
    await chmod(devFile, 0o600);
    say(`The service answers on ${url} and logs to ${serviceLog}.`);
    return { url, apiKey, catalog, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One key at a time: those of earlier runs were shown on a screen and are of no use any more. */
function makeKey(databaseUrl: string): Promise<string> {
  return withClient(databaseUrl, async (client) => {
    await client.apiKey.deleteMany({ where: { ownerId: OWNER, name: OWNER } });
    const key = await issueApiKey(client, {
      ownerId: OWNER,
      name: OWNER,
      scopes: ['jobs:read', 'jobs:write'],
    });
    return key.text;
  });
}
