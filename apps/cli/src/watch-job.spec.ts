import { describe, expect, test } from '@jest/globals';
import type { Job } from './api-answers.js';
import { ApiError, UnreachableError } from './api-errors.js';
import { watchJob } from './watch-job.js';

const ACTIVE: Job = {
  jobId: 'j',
  type: 'a',
  status: 'active',
  progress: 1,
  version: 1,
  error: null,
  tasks: { completed: 0, failed: 0, canceled: 0 },
  createdAt: '2026-01-02T03:04:05.000Z',
  startedAt: null,
  finishedAt: null,
};
const DONE: Job = { ...ACTIVE, status: 'completed', progress: 100 };
const DOWN = new UnreachableError('http://x.test', 'ECONNREFUSED', false);

function refusal(status: number): ApiError {
  return new ApiError('http://x.test', status, { type: 't', title: 't', status, detail: 'd' });
}

/** A client that gives or throws one answer after the other, and the last one for ever. */
function client(answers: { get: (Job | Error)[]; progress: (Job | Error)[] }) {
  return { get: oneByOne(answers.get), progress: oneByOne(answers.progress) };
}

function oneByOne(answers: (Job | Error)[]): () => Promise<Job> {
  return async () => {
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === undefined || answer instanceof Error) throw answer;
    return answer;
  };
}

describe('a watch', () => {
  test('tells of each look and answers the final job', async () => {
    const seen: string[] = [];
    const watched = client({ get: [ACTIVE, DONE], progress: [ACTIVE, DONE] });
    expect(await watchJob(watched, 'j', { onProgress: ({ status }) => seen.push(status) })).toBe(DONE);
    expect(seen).toEqual(['active', 'completed']);
  });

  test('goes on when the job was retried at its very end', async () => {
    const watched = client({ get: [ACTIVE, ACTIVE, DONE], progress: [DONE] });
    expect(await watchJob(watched, 'j')).toBe(DONE);
  });

  test('waits where an answer may soon come', async () => {
    const watched = client({ get: [ACTIVE, DOWN, DONE], progress: [DOWN, refusal(503), DONE] });
    expect(await watchJob(watched, 'j')).toBe(DONE);
  });

  test.each([400, 401, 404, 500])('does not wait after a %i', async (status) => {
    const refused = refusal(status);
    await expect(watchJob(client({ get: [ACTIVE], progress: [refused, DONE] }), 'j')).rejects.toBe(refused);
  });

  test('gives up at once when nobody answers the first look', async () => {
    await expect(watchJob(client({ get: [DOWN, DONE], progress: [DONE] }), 'j')).rejects.toBe(DOWN);
  });

  test('gives up when its patience is at an end', async () => {
    const watched = client({ get: [ACTIVE], progress: [DOWN] });
    await expect(watchJob(watched, 'j', { patience: 500 })).rejects.toBe(DOWN);
  });

  test('ends when it is told to', async () => {
    const watched = client({ get: [ACTIVE], progress: [ACTIVE] });
    const signal = AbortSignal.timeout(50);
    await expect(watchJob(watched, 'j', { signal })).rejects.toMatchObject({ name: 'AbortError' });
  });
});
