import { expect, test } from '@jest/globals';
import type { Explainer } from '../explain.js';
import type { Jobs } from '../jobs.js';
import type { Schedules } from '../schedules.js';
import type { Workers } from '../workers.js';
import type { JobQueries } from './job-queries.js';

/** Never called: the compiler refuses each call in it, or it complains of the mark above the call. */
function forgetsTheOwner(
  jobs: Jobs,
  queries: JobQueries,
  explainer: Explainer,
  workers: Workers,
  schedules: Schedules,
) {
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
    jobs.events(jobId, page),
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
    // @ts-expect-error -- nobody makes it
    schedules.create({ name: 'x', job: { type: 'x' } }),
    // @ts-expect-error -- whose?
    schedules.find(jobId),
    // @ts-expect-error -- whose?
    schedules.find(nobody, jobId),
    // @ts-expect-error -- whose?
    schedules.page(page),
    // @ts-expect-error -- whose?
    schedules.slots(jobId, page),
    // @ts-expect-error -- whose?
    schedules.change(jobId, {}, by),
    // @ts-expect-error -- whose?
    schedules.remove(jobId, by),
    // @ts-expect-error -- whose?
    schedules.pause(jobId, by),
    // @ts-expect-error -- whose?
    schedules.resume(jobId),
    // @ts-expect-error -- whose?
    schedules.trigger(jobId, by),
    // @ts-expect-error -- whose?
    workers.live(),
    // @ts-expect-error -- whose?
    workers.live(nobody),
  ];
}

type Asked = 'for an owner' | 'by administrators' | 'of nothing that is kept';

/** What may be asked. The compiler wants a line for what is added; it belongs among the calls above too, if it is for an owner. */
const OF_JOBS: Record<keyof Jobs, Asked> = {
  submit: 'for an owner',
  find: 'for an owner',
  page: 'for an owner',
  tasks: 'for an owner',
  events: 'for an owner',
  cancel: 'for an owner',
  reschedule: 'for an owner',
  retry: 'for an owner',
  ownerOf: 'by administrators',
  resolve: 'by administrators',
};
const OF_QUERIES: Record<keyof JobQueries, Asked> = {
  find: 'for an owner',
  page: 'for an owner',
  tasks: 'for an owner',
  ownerOf: 'by administrators',
};
const OF_SCHEDULES: Record<keyof Schedules, Asked> = {
  create: 'for an owner',
  find: 'for an owner',
  page: 'for an owner',
  slots: 'for an owner',
  change: 'for an owner',
  remove: 'for an owner',
  pause: 'for an owner',
  resume: 'for an owner',
  trigger: 'for an owner',
  ownerOf: 'by administrators',
  preview: 'of nothing that is kept',
};

test('feature 3: what is asked of jobs is asked for an owner, or by an administrator', () => {
  const calls = forgetsTheOwner.toString();
  for (const [receiver, asked] of [
    ['jobs', OF_JOBS],
    ['queries', OF_QUERIES],
    ['schedules', OF_SCHEDULES],
  ] as const) {
    for (const [name, how] of Object.entries(asked)) {
      expect({ name, tried: calls.includes(`${receiver}.${name}(`) }).toEqual({
        name,
        tried: how === 'for an owner',
      });
    }
  }
});
