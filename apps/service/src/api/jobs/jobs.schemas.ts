import { z } from 'zod';
import {
  FAILURE_POLICIES,
  JOB_STATUSES,
  type Json as JsonValue,
  MOST_RECIPIENTS,
  NOTIFY_EVENTS,
} from '@app/core';
import { MOST_SUBMITTED_TASKS } from '@app/engine/registry/check-job.js';
import type { JobFilter } from '@app/engine/store/listed-jobs.js';
import { strict } from './strict.js';

/** The type of a job that says only how many tasks it has. */
const DEMO_TYPE = 'demo.wait';

/** As z.json(), with a name in the document of the API. */
export const Json: z.ZodType<JsonValue> = z
  .union([
    z.string(),
    z.number(),
    z.boolean(),
    z.null(),
    z.array(z.lazy(() => Json)),
    z.record(
      z.string(),
      z.lazy(() => Json),
    ),
  ])
  .meta({ id: 'Json', description: 'Any JSON value.' });

const Task = strict({
  key: z.string().min(1).max(200).optional(),
  payload: Json.optional(),
});

/** An instant with its offset, such as 2030-01-31T12:00:00Z. An offset can carry one into the year 10000. */
export const Instant = z.iso
  .datetime({ offset: true, abort: true })
  .refine((text) => new Date(text).getUTCFullYear() <= 9999, 'The year must be at most 9999, in UTC.');

/** Keys of a Catalog record that are not for metadata. */
const TAKEN_KEYS = ['id', 'links'];

const Catalog = z.record(z.string().max(200), Json).superRefine((metadata, context) => {
  for (const key of TAKEN_KEYS.filter((name) => Object.hasOwn(metadata, name))) {
    context.addIssue({ code: 'custom', path: [key], message: 'The Catalog has this key itself.' });
  }
});

/** The type of a job; one that says only how many tasks it has is a demonstration. */
export function typeOr(
  type: string | undefined,
  numTask: number | undefined,
  context: z.RefinementCtx,
): string | undefined {
  if (type !== undefined) return type;
  if (numTask !== undefined) return DEMO_TYPE;
  const message = 'Give a job type, or numTask for a demonstration.';
  context.addIssue({ code: 'custom', path: ['type'], message });
  return undefined;
}
const Notify = strict({
  email: z
    .array(z.string().min(1).max(254))
    .max(MOST_RECIPIENTS)
    .optional()
    .meta({ description: 'Plain addresses; none: nobody is mailed.' }),
  on: z.array(z.enum(NOTIFY_EVENTS)).min(1).max(NOTIFY_EVENTS.length).optional(),
});

/** The body of POST /jobs. */
export const SubmitBody = strict({
  type: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .meta({ description: 'A job type; see the ones that the service has.' }),
  payload: Json.optional().meta({ description: 'What the job type wants to know.' }),
  tasks: z
    .array(Task)
    .min(1)
    .optional()
    .meta({ description: 'One entry for each task.', maxItems: MOST_SUBMITTED_TASKS }),
  numTask: z
    .int()
    .min(1)
    .optional()
    .meta({ description: 'That many tasks with the job’s payload.', maximum: MOST_SUBMITTED_TASKS }),
  failurePolicy: z.enum(FAILURE_POLICIES).optional(),
  tag: z
    .string()
    .min(1)
    .max(40)
    .optional()
    .meta({ description: 'The tag that the workers must hold, instead of the one of the job type.' }),
  attempts: z.int().min(1).max(100).optional().meta({ description: 'Executions of a task in all.' }),
  runAt: Instant.optional().meta({ description: 'When the job is due; at once when absent.' }),
  expiresAt: Instant.optional().meta({ description: 'When the job is given up if it has not begun.' }),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .optional()
    .meta({ description: 'Larger goes first among the jobs of the owner; 0 when absent.' }),
  dedupeKey: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .meta({ description: 'Refuses the job while another open job of the owner has this key.' }),
  labels: z
    .record(z.string(), z.string())
    .optional()
    .meta({ description: 'Short texts by key; the job type says by which of them jobs can be listed.' }),
  catalog: Catalog.optional().meta({ description: 'Metadata for the Catalog.' }),
  notify: Notify.optional().meta({
    description: 'Who is mailed when it ends; what is left out is as its type and the service say.',
  }),
}).transform((body, context) => {
  const { type, runAt, expiresAt, ...rest } = body;
  const times = {
    ...(runAt === undefined ? {} : { runAt: new Date(runAt) }),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt) }),
  };
  const named = typeOr(type, body.numTask, context);
  return named === undefined ? z.NEVER : { ...rest, ...times, type: named };
});
export type SubmitBody = z.output<typeof SubmitBody>;

/** The body of PUT /jobs/:jobId. */
export const RescheduleBody = strict({ runAt: Instant });
export type RescheduleBody = z.output<typeof RescheduleBody>;

/** The body of POST /jobs/:jobId/cancel, which may be left out. */
export const CancelBody = strict({ reason: z.string().min(1).max(500).optional() })
  .optional()
  .meta({ description: 'Why the job is canceled; kept in its receipt.' });
export type CancelBody = z.output<typeof CancelBody>;

/** The body of POST /jobs/:jobId/resolve. */
export const ResolveBody = strict({
  status: z.enum(['completed', 'failed']).meta({ description: 'How the job ends.' }),
  reason: z.string().min(1).max(500).meta({ description: 'Why; kept in its ledger.' }),
});
export type ResolveBody = z.output<typeof ResolveBody>;

/** Items of a page. */
const PAGE = { least: 1, most: 200, unlessGiven: 50 };

/** How `limit` is documented: as the number that it is to those who send it. */
export const LIMIT_PARAMETER = {
  name: 'limit',
  required: false,
  schema: { type: 'integer', minimum: PAGE.least, maximum: PAGE.most, default: PAGE.unlessGiven },
} as const;

/** The parameter `limit` of a list. */
export const limit = z
  .string()
  .refine(
    (text) => /^\d{1,6}$/.test(text) && Number(text) >= PAGE.least && Number(text) <= PAGE.most,
    `A whole number from ${PAGE.least} to ${PAGE.most}.`,
  )
  .transform(Number)
  .default(PAGE.unlessGiven);
export const NO_PARAMETER = 'There is no such parameter.';
export const cursor = z.string().min(1).max(200).optional();

/** Values of one filter. */
const MOST_VALUES = 20;

/** Values separated by commas, each at most once. */
export const listOf = <T extends string>(item: z.ZodType<T, string>, description: string) =>
  z
    .string()
    .transform((text) => [...new Set(text.split(','))])
    .pipe(z.array(item).max(MOST_VALUES))
    .meta({ description: `${description} Several with commas between them, ${MOST_VALUES} at most.` });
/** What can stand in the database: no control characters, no half characters. */
const word = (longest: number) =>
  z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'No control characters.');
/** Whom a list is of that is of nobody alone. */
export const ALL_OWNERS = '*';
const LABELS = 'labels.';
const Label = listOf(word(200), 'A label.');

/** The query of GET /jobs. Labels come as `labels.<key>`. */
export const ListQuery = z
  .object({
    limit,
    cursor,
    status: listOf(z.enum(JOB_STATUSES), 'Jobs in this state.').optional(),
    type: listOf(word(100), 'Jobs of this type.').optional(),
    tag: listOf(word(40), 'Jobs with this tag.').optional(),
    from: Instant.optional().meta({ description: 'Jobs accepted at this time or later.' }),
    to: Instant.optional().meta({ description: 'Jobs accepted before this time.' }),
    ownerId: word(200)
      .optional()
      .meta({ description: `For administrators: jobs of this owner, or of all owners (${ALL_OWNERS}).` }),
  })
  .catchall(z.unknown())
  .transform(({ limit, cursor, status, type, tag, from, to, ownerId, ...more }, context) => {
    // Without a prototype: a key may be named like one of its members.
    const labels = Object.create(null) as Record<string, string[]>;
    for (const [name, value] of Object.entries(more)) {
      const refuse = (message: string) => context.addIssue({ code: 'custom', path: [name], message });
      const parsed = Label.safeParse(value);
      if (!name.startsWith(LABELS)) refuse(NO_PARAMETER);
      else if (!parsed.success) refuse(parsed.error.issues[0]?.message ?? '');
      else labels[name.slice(LABELS.length)] = parsed.data;
    }
    if (from !== undefined && to !== undefined && new Date(from) > new Date(to)) {
      context.addIssue({ code: 'custom', path: ['to'], message: 'It is before from.' });
    }
    const filter: JobFilter = {
      ...(status && { statuses: status }),
      ...(type && { types: type }),
      ...(tag && { tags: tag }),
      ...(from !== undefined && { from: new Date(from) }),
      ...(to !== undefined && { to: new Date(to) }),
      ...(Object.keys(labels).length > 0 && { labels }),
    };
    return { limit, cursor, filter, ownerId };
  });
export type ListQuery = z.output<typeof ListQuery>;

/** The parameters of a page. */
export const PAGE_PARAMETERS = { limit, cursor };

/** The query of the list of a job's tasks. */
export const PageQuery = strict(PAGE_PARAMETERS, NO_PARAMETER);
export type PageQuery = z.output<typeof PageQuery>;

/** A key that makes a repeated submit safe: printable ASCII. */
export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable characters without spaces.')
  .optional();
