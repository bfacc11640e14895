import { expect, test } from '@jest/globals';
import type { JobEventKind } from '@app/core';
import type { FeedRow } from '../store/read-feed.js';
import { eventsOf } from './live-event.js';

const JOB = '019a0000-0000-7000-8000-000000000000';

function row(seq: number, xid: number, kind: JobEventKind, tasks: FeedRow['tasks'] = null): FeedRow {
  return {
    xid: BigInt(xid),
    seq: BigInt(seq),
    kind,
    jobId: JOB,
    ownerId: 'ann',
    type: 'test.type',
    generation: 1,
    version: xid,
    at: new Date(0),
    tasks,
    job: { status: 'canceled', generation: 1, version: 9, progress: 0 },
  };
}

const told = (rows: FeedRow[]) => eventsOf(rows).map(({ event, data }) => `${event} ${data.status}`);

test('a row that has made no state of a job tells none', () => {
  const silent = ['job.exited', 'job.finalize-overdue', 'job.late', 'tasks.planned'] as const;
  expect(told(silent.map((kind, at) => row(at, 10 + at, kind)))).toEqual([]);
  expect(told([row(1, 10, 'job.rescheduled')])).toEqual(['job-update scheduled']);
});

test('a claim that a cancel has waited for is told before its end', () => {
  const rows = [
    row(1, 20, 'job.canceled'),
    row(2, 21, 'tasks.active', [{ id: 't', attempt: 1 }]),
    row(3, 20, 'tasks.canceled', ['t']),
  ];
  expect(told(rows)).toEqual(['task-update active', 'task-update canceled', 'job-update canceled']);
  expect(eventsOf(rows).map(({ place }) => [Number(place?.seq), place?.nth])).toEqual([
    [2, 0],
    [3, 0],
    [3, 1],
  ]);
});
