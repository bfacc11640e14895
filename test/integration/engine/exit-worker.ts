import { once } from 'node:events';
import { z } from 'zod';
import { type ExitContext, type ExitedJob, JobType } from '@app/core';
import { startEngine } from '../../support/engine.js';

/** Keys with which the hook was called in this process. */
export const calls: string[] = [];

/** Ends at once; its exit hook never does in a process that is to die in it. */
@JobType({ name: 'test.fatal-exit', payload: z.any() })
export class FatalExit {
  async run() {}
  async onJobExited(_job: ExitedJob, { key, signal }: ExitContext) {
    calls.push(key);
    if (!doomed) return;
    process.stdout.write(`${key}\n`);
    await once(signal, 'abort');
  }
}

// As a program: a worker whose hooks hang, for a test to kill.
const [databaseUrl, url, prefix] = process.argv.slice(2);
const doomed = process.argv[1] === import.meta.filename;
if (doomed)
  await startEngine({
    databaseUrl: databaseUrl ?? '',
    redis: { url: url ?? '', prefix: prefix ?? '' },
    jobTypes: [FatalExit],
    env: { LEASE: '3s' },
  });
