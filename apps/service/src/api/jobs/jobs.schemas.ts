import { z } from 'zod';
import { FAILURE_POLICIES } from '@app/core';

/** The type of a job that says only how many tasks it has. */
const DEMO_TYPE = 'demo.wait';

const Json = z.json();

const Task = z.strictObject({
  key: z.string().min(1).max(200).optional(),
  payload: Json.optional(),
});

/** An instant with its offset, such as 2030-01-31T12:00:00Z. */
const Instant = z.iso.datetime({ offset: true });

/** The body of POST /jobs. */
export const SubmitBody = z
  .strictObject({
    type: z
      .string()
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'A job type; see the ones that the service has.' }),
    payload: Json.optional().meta({ description: 'What the job type wants to know.' }),
    tasks: z.array(Task).min(1).optional().meta({ description: 'One entry for each task.' }),
    numTask: z
      .int()
      .min(1)

      .optional()
      .meta({ description: 'That many tasks with the job’s payload.' }),
    failurePolicy: z.enum(FAILURE_POLICIES).optional(),
    attempts: z.int().min(1).max(100).optional().meta({ description: 'Executions of a task in all.' }),
    runAt: Instant.optional().meta({ description: 'When the job is due; at once when absent.' }),
    expiresAt: Instant.optional().meta({ description: 'When the job is given up if it has not begun.' }),
    dedupeKey: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .meta({ description: 'Refuses the job while another open job of the owner has this key.' }),
    catalog: z
      .record(z.string().max(200), Json)
      .optional()
      .meta({ description: 'Metadata for the Catalog.' }),
  })
  .transform((body, context) => {
    const { type, runAt, expiresAt, ...rest } = body;
    const times = {
      ...(runAt === undefined ? {} : { runAt: new Date(runAt) }),
      ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt) }),
    };
    if (type !== undefined) return { ...rest, ...times, type };
    if (body.numTask !== undefined) return { ...rest, ...times, type: DEMO_TYPE };
    context.addIssue({
      code: 'custom',
      path: ['type'],
      message: 'Give a job type, or numTask for a demonstration.',
    });
    return z.NEVER;
  });
export type SubmitBody = z.output<typeof SubmitBody>;

/** The body of PUT /jobs/:jobId. */
export const RescheduleBody = z.strictObject({ runAt: Instant });
export type RescheduleBody = z.output<typeof RescheduleBody>;

/** The body of POST /jobs/:jobId/cancel, which may be left out. */
export const CancelBody = z
  .strictObject({ reason: z.string().min(1).max(500).optional() })
  .optional()
  .meta({ description: 'Why the job is canceled; kept in its receipt.' });
export type CancelBody = z.output<typeof CancelBody>;

const limit = (fallback: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, 'A whole number.')
    .transform(Number)
    .refine((value) => value >= 1 && value <= most, `From 1 to ${most}.`)
    .default(fallback);
const cursor = z.string().min(1).max(200).optional();

/** The query of GET /jobs. */
export const ListQuery = z.strictObject({ limit: limit(50, 200), cursor });
export type ListQuery = z.output<typeof ListQuery>;

/** The query of GET /jobs/:jobId/tasks. */
export const TasksQuery = z.strictObject({ limit: limit(50, 200), cursor });
export type TasksQuery = z.output<typeof TasksQuery>;

/** A key that makes a repeated submit safe: printable ASCII. */
export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable characters without spaces.')
  .optional();
