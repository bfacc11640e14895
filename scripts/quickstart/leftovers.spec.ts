import { describe, expect, test } from '@jest/globals';
import type { Job } from '../../apps/cli/src/api-answers.js';
import { ApiError } from '../../apps/cli/src/api-errors.js';
import { endLeftovers } from './leftovers.js';

/** A service that knows these jobs, 200 to a page; a cancel is heeded at the second look. */
function service(statuses: string[]) {
  const jobs = statuses.map((status, index) => ({ jobId: `job-${index}`, status }) as Job);
  const canceled: string[] = [];
  const looks = new Map<string, number>();
  const client = {
    list: async ({ limit = 50, cursor = '0' }: { limit?: number; cursor?: string } = {}) => {
      const end = Number(cursor) + limit;
      return { jobs: jobs.slice(Number(cursor), end), nextCursor: end < jobs.length ? String(end) : null };
    },
    cancel: async (jobId: string) => {
      if (jobs.find((job) => job.jobId === jobId)?.status === 'finalizing') {
        throw new ApiError('http://x', 409, { type: 'x', title: 'x', status: 409, detail: 'Too late.' });
      }
      canceled.push(jobId);
      return jobs[0] as Job;
    },
    get: async (jobId: string) => {
      const look = (looks.get(jobId) ?? 0) + 1;
      looks.set(jobId, look);
      return { jobId, cancelReceipt: { state: look === 1 ? 'delivered' : 'stopped' } } as Job;
    },
  };
  return { client, canceled, looks };
}

async function leftoversOf(statuses: string[]) {
  const { client, canceled, looks } = service(statuses);
  const said: string[] = [];
  await endLeftovers(client, (sentence) => void said.push(sentence), new AbortController().signal);
  return { canceled, looks, said };
}

describe('what an earlier quickstart left', () => {
  test('is canceled and waited for, whatever it is and however old, and said in one sentence', async () => {
    const ended = Array.from({ length: 250 }, () => 'completed');
    const { canceled, looks, said } = await leftoversOf([
      'active',
      'scheduled',
      ...ended,
      'queued',
      'finalizing',
    ]);
    expect(canceled).toEqual(['job-0', 'job-252']);
    expect([...looks]).toEqual([
      ['job-0', 2],
      ['job-252', 2],
    ]);
    expect(said).toEqual(['Canceling 3 jobs that an earlier quickstart left unfinished.']);
  });

  test('is one job, in words', async () => {
    expect((await leftoversOf(['queued'])).said).toEqual([
      'Canceling the job that an earlier quickstart left unfinished.',
    ]);
  });

  test('is not spoken of when there is none', async () => {
    expect(await leftoversOf(['completed', 'failed', 'canceled', 'scheduled'])).toMatchObject({
      canceled: [],
      said: [],
    });
  });
});
