import { expect, test } from '@jest/globals';
import type { Explainer } from '../explain.js';
import { Jobs } from '../jobs.js';
import type { Workers } from '../workers.js';
import { JobQueries } from './job-queries.js';

/** Never called: the compiler refuses each call in it, or it complains of the mark above the call. */
function forgetsTheOwner(jobs: Jobs, queries: JobQueries, explainer: Explainer, workers: Workers) {
  const jobId = '019a0000-0000-7000-8000-000000000000';
  const [by, page] = [{ actor: 'key:x' }, { limit: 1 }];
  const nobody: string | undefined = undefined;
  return [
    // @ts-expect-error -- nobody submits
    jobs.submit({ type: 'x' }),
    // @ts-expect-error -- nobody submits
    jobs.submit({ type: 'x' }, by),
    // @ts-expect-error -- whose?
    jobs.find(jobId),
    // @ts-expect-error -- whose?
    jobs.find(nobody, jobId),
    // @ts-expect-error -- whose?
    jobs.page(page),
    // @ts-expect-error -- whose?
    jobs.page(nobody, page),
    // @ts-expect-error -- whose?
    jobs.tasks(jobId, page),
    // @ts-expect-error -- whose?
    jobs.cancel(jobId, by),
    // @ts-expect-error -- whose?
    jobs.reschedule(jobId, new Date(), by),
    // @ts-expect-error -- whose?
    jobs.retry(jobId, by),
    // @ts-expect-error -- whose?
    queries.find(jobId),
    // @ts-expect-error -- whose?
    queries.page(50),
    // @ts-expect-error -- whose?
    queries.tasks(jobId, 50, 0),
    // @ts-expect-error -- whose?
    explainer.explain(jobId),
    // @ts-expect-error -- whose?
    workers.live(),
    // @ts-expect-error -- whose?
    workers.live(nobody),
  ];
}

const methodsOf = (type: { prototype: object }) => Object.getOwnPropertyNames(type.prototype).toSorted();

test('feature 3: what is asked of jobs is asked for an owner, or by an administrator', () => {
  expect(forgetsTheOwner).toBeInstanceOf(Function);
  // One that is added is added here, and to the calls above unless it is for administrators alone.
  const ofAnOwner = 'cancel find page reschedule retry submit tasks';
  const ofAdministrators = 'ownerOf resolve';
  const within = 'accept answer constructor dedupeOf directly replay';
  expect(methodsOf(Jobs)).toEqual(`${ofAnOwner} ${ofAdministrators} ${within}`.split(' ').toSorted());
  expect(methodsOf(JobQueries)).toEqual([
    'constructor',
    'find',
    'ownerOf',
    'page',
    'select',
    'stops',
    'tasks',
  ]);
});
