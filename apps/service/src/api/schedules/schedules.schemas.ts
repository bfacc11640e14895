import { z } from 'zod';
import { type Duration, LONGEST_CRON, MISFIRE_POLICIES, OVERLAP_POLICIES, SLOT_OUTCOMES } from '@app/core';
import type { SlotFilter } from '@app/engine/store/schedule-queries.js';
import { cursor, Instant, limit, listOf, NO_PARAMETER, SubmitBody, typeOr } from '../jobs/jobs.schemas.js';
import { strict } from '../jobs/strict.js';

const length = z
  .string()
  .regex(/^\d{1,9}(ms|s|m|h|d)$/, 'A whole number with a unit: ms, s, m, h or d.')
  .transform((text) => text as Duration);

const { runAt: _runAt, expiresAt: _expiresAt, ...SUBMITTED } = SubmitBody.in.shape;

/** What is submitted for each slot: the body of POST /jobs, without times. */
const Template = strict(SUBMITTED)
  .transform((body, context) => {
    const type = typeOr(body.type, body.numTask, context);
    return type === undefined ? z.NEVER : { ...body, type };
  })
  .meta({ description: 'What is submitted for each slot, as for POST /jobs but for the times.' });

const name = z.string().min(1).max(100).meta({ description: 'Unique among the own schedules.' });
const TIMING = {
  cron: z
    .string()
    .min(1)
    .max(LONGEST_CRON)
    .meta({ description: 'Five fields, or six with seconds first. Either cron or every is given.' }),
  every: length.meta({ description: 'The real time between two slots, such as 10m.' }),
  timezone: z
    .string()
    .max(64)
    .meta({ description: 'The IANA zone of the clocks that cron means; UTC when absent.' }),
  startAt: Instant.meta({ description: 'No slot is before it.' }),
  endAt: Instant.meta({ description: 'No slot is at it or later.' }),
  maxRuns: z.int().min(1).max(1_000_000_000).meta({ description: 'Jobs after which the schedule ends.' }),
};
const POLICIES = {
  jitter: length.meta({
    description: 'Each slot fires up to so much later, by a chance that is fixed for it.',
  }),
  misfire: z.enum(MISFIRE_POLICIES).meta({
    description: 'Which missed slots are made up for: one for all (latest, the default), each, or none.',
  }),
  maxCatchUp: z
    .int()
    .min(1)
    .max(100)
    .meta({ description: 'Runs that misfire "all" makes at most; 10 when absent.' }),
  catchUpWindow: length.meta({
    description: 'Missed slots older than this are not made up for; 1d when absent.',
  }),
  overlap: z
    .enum(OVERLAP_POLICIES)
    .meta({ description: 'What is done while a job of the schedule is open; allow when absent.' }),
  checkinMargin: length.meta({ description: 'A job that begins later than this after its slot is late.' }),
  maxRuntime: length.meta({ description: 'Limit of a job; that of its type holds too.' }),
};

type Fields = { [F in keyof typeof TIMING]?: z.output<(typeof TIMING)[F]> | null | undefined };

/** As the engine takes them: times as dates. Null stays, for it takes a field back. */
function withDates<B extends Fields>({ startAt, endAt, ...body }: B) {
  return { ...body, ...dated({ startAt, endAt }) };
}

function dated(times: Record<'startAt' | 'endAt', string | null | undefined>): {
  startAt?: Date;
  endAt?: Date;
} {
  const given = Object.entries(times).filter(([, text]) => text !== undefined);
  return Object.fromEntries(
    given.map(([field, text]) => [field, text === null ? null : new Date(text ?? '')]),
  );
}

const optional = <S extends Record<string, z.ZodType>>(shape: S) => z.object(shape).partial().shape;

/** The body of POST /schedules. */
export const ScheduleBody = strict({
  name,
  job: Template,
  ...optional(TIMING),
  ...optional(POLICIES),
}).transform(withDates);
export type ScheduleBody = z.output<typeof ScheduleBody>;

/** The body of POST /schedules/preview: a schedule, of which only the times matter. */
export const PreviewBody = strict({
  name: name.optional(),
  job: Template.optional(),
  ...optional(TIMING),
  ...optional(POLICIES),
}).transform(withDates);
export type PreviewBody = z.output<typeof PreviewBody>;

const nullable = <S extends Record<string, z.ZodType>>(shape: S) =>
  Object.fromEntries(
    Object.entries(shape).map(([field, schema]) => [field, schema.nullish()]),
  ) as unknown as {
    [F in keyof S]: z.ZodOptional<z.ZodNullable<S[F]>>;
  };

/** The body of PATCH /schedules/:scheduleId: what is to be another one; null takes back what was given. */
export const ChangeBody = strict({
  name: name.optional(),
  job: Template.optional(),
  ...nullable(TIMING),
  ...nullable(POLICIES),
}).transform(withDates);
export type ChangeBody = z.output<typeof ChangeBody>;

/** The query of GET /schedules. */
export const SchedulesQuery = strict({ limit, cursor }, NO_PARAMETER);
export type SchedulesQuery = z.output<typeof SchedulesQuery>;

/** The query of GET /schedules/:scheduleId/slots. */
export const SlotsQuery = strict(
  {
    limit,
    cursor,
    outcome: listOf(z.enum(SLOT_OUTCOMES), 'Slots with this outcome.').optional(),
    from: Instant.optional().meta({ description: 'Slots at this time or later.' }),
    to: Instant.optional().meta({ description: 'Slots before this time.' }),
  },
  NO_PARAMETER,
).transform(({ limit, cursor, outcome, from, to }) => {
  const filter: SlotFilter = {
    ...(outcome && { outcomes: outcome }),
    ...(from !== undefined && { from: new Date(from) }),
    ...(to !== undefined && { to: new Date(to) }),
  };
  return { limit, cursor, filter };
});
export type SlotsQuery = z.output<typeof SlotsQuery>;
