import { randomUUID } from 'node:crypto';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { createSchedule } from '@app/engine/store/change-schedules.js';
import type { ScheduleRule } from '@app/engine/store/schedule-rows.js';
import type { Firings } from '@app/engine/store/tick-schedules.js';
import { LIFE, newJob, OWNER } from './store-fixture.js';

export const TYPES = ['test.type'];
export const RULE: ScheduleRule = {
  name: '',
  cron: null,
  everyMs: 3_600_000,
  timezone: 'UTC',
  startAt: null,
  endAt: null,
  maxRuns: null,
  jitterMs: 0,
  type: 'test.type',
  template: { type: 'test.type' },
  maxRuntimeMs: null,
  checkinMarginMs: null,
  misfire: 'latest',
  maxCatchUp: 10,
  catchUpWindowMs: 86_400_000,
  overlap: 'allow',
};
export const firings: Firings = {
  types: TYPES,
  incarnation: LIFE,
  most: { jobs: undefined, tasks: undefined },
  prepare: async ({ schedule: { scheduleId, ownerId }, slot, jobId }) =>
    newJob({ jobId, ownerId, direct: 0, schedule: { scheduleId, slot } }),
};

/** What tests make of schedules and look at, by one client. */
export const schedulesOf = (client: PrismaClient) => ({
  create: (rule: Partial<ScheduleRule> = {}, owner = OWNER) =>
    createSchedule(client, owner, { ...RULE, name: randomUUID(), ...rule }, 'key:test'),
  /** Lets slots of intervals be due now. */
  makeDue: () => client.$executeRaw`
    UPDATE schedules SET anchor = n.at, next_slot = n.at, next_at = n.at
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS at) n`,
  slots: () =>
    client.$queryRaw<{ id: string; slot: Date; jobs: number; outcome: string }[]>`
      SELECT x.schedule_id::text AS id, x.slot, x.outcome,
        (SELECT count(*)::int FROM jobs j WHERE j.schedule_id = x.schedule_id AND j.slot = x.slot) AS jobs
      FROM schedule_slots x`,
  jobs: () => client.$queryRaw<{ id: string }[]>`SELECT id FROM jobs WHERE schedule_id IS NOT NULL`,
  empty: () => client.$executeRaw`TRUNCATE schedules, schedule_slots, jobs, dedupe_keys`,
});
