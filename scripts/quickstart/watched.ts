import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { repositoryRoot } from '../local/paths.js';
import { endChild, hasEnded, remember } from '../local/processes.js';
import { LocalStackError, type Log } from '../local/types.js';
import { codeChanges } from './code-changes.js';

const PATIENCE_MS = 60_000;
const SERVICE = ['--import', '@swc-node/register/esm-register', 'scripts/quickstart/watched-service.ts'];
const CODE = ['apps/service', 'libs'];

/** What a service under watch is started with. */
export interface WatchedOptions {
  environment: Record<string, string>;
  url: string;
  /** Where its output goes, and how people see that name. */
  log: { file: string; name: string };
  say: Log;
  signal: AbortSignal;
}

/** Runs the service in a process of its own, and starts it again when its code changes. Answers how to stop it. */
export async function startWatched(options: WatchedOptions): Promise<() => Promise<void>> {
  const { say } = options;
  let child = await launch(options, 'w');
  try {
    await untilUp(child, options);
  } catch (error) {
    await endChild(child, 'SIGTERM');
    throw error;
  }
  say(`It starts again when the code in ${CODE.join(' or ')} changes.`);

  const stopped = new AbortController();
  const signal = AbortSignal.any([options.signal, stopped.signal]);
  const restarts = (async () => {
    for await (const file of codeChanges(repositoryRoot, CODE, signal)) {
      say(`${file} has changed: the service starts again.`);
      await endChild(child, 'SIGTERM');
      child = await launch(options, 'a');
      await untilUp(child, { ...options, signal }).then(
        () => say('The service answers again.'),
        (error: Error) => signal.aborted || say(`${error.message} The next change starts it again.`),
      );
    }
  })();
  return async () => {
    stopped.abort();
    await restarts.catch((error: Error) => say(`The watch of the code has failed: ${error.message}`));
    await endChild(child, 'SIGTERM');
  };
}

async function launch({ environment, log }: WatchedOptions, flags: 'w' | 'a'): Promise<ChildProcess> {
  const output = await open(log.file, flags);
  try {
    const child = spawn(process.execPath, SERVICE, {
      cwd: repositoryRoot,
      env: { ...process.env, ...environment },
      // A group of its own: Ctrl-C reaches us only, and we end things in order.
      detached: true,
      stdio: ['ignore', output.fd, output.fd, 'ipc'],
    });
    return remember(child);
  } finally {
    await output.close();
  }
}

async function untilUp(child: ChildProcess, { url, log, signal }: WatchedOptions): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end && !hasEnded(child)) {
    const up = await fetch(`${url}/health/ready`, { signal }).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return;
    await delay(100, undefined, { signal });
  }
  throw new LocalStackError(`The service did not start: ${log.name} tells why.`);
}
