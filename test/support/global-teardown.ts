import { once } from 'node:events';

/** Ends the servers that global-setup.ts has started, and waits until they are gone. */
export default async function globalTeardown(): Promise<void> {
  const servers = globalThis.longhaulTestServers;
  globalThis.longhaulTestServers = undefined;
  if (!servers || servers.exitCode !== null) return;
  const exited = once(servers, 'exit');
  servers.stdin?.end();
  await exited;
}
