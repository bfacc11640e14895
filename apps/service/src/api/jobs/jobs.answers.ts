import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import { z } from 'zod';
import {
  ERROR_CODES,
  FAILURE_POLICIES,
  type Job as JobView,
  JOB_STATUSES,
  TASK_STATUSES,
  WAIT_CODES,
} from '@app/core';
import { Json } from './jobs.schemas.js';
import { PROBLEMS, type ProblemSlug } from '../problems/problem.js';

// What the answers look like, for the OpenAPI document.
const Time = z.iso.datetime();
const Status = z.enum(JOB_STATUSES);
const Counts = z.object({
  total: z.int().optional().meta({ description: 'Absent while the plan still adds tasks.' }),
  completed: z.int(),
  failed: z.int(),
  canceled: z.int(),
});
const Failure = z
  .object({
    code: z.enum(ERROR_CODES),
    message: z.string(),
    taskId: z.uuid().optional(),
    attempt: z.int().optional(),
  })
  .meta({ id: 'Failure' });
const Times = {
  runAt: Time.nullable(),
  createdAt: Time,
  startedAt: Time.nullable(),
  finishedAt: Time.nullable(),
};
const Stop = z.object({
  taskId: z.uuid(),
  worker: z.uuid().nullable(),
  deliveredAt: Time.nullable(),
  stoppedAt: Time.nullable(),
  fencedAt: Time.nullable(),
});
const Receipt = z
  .object({
    state: z.enum(['requested', 'delivered', 'stopped', 'fenced']),
    requestedAt: Time,
    actor: z.string(),
    reason: z.string().nullable(),
    stops: z.array(Stop),
  })
  .meta({ id: 'CancelReceipt' });
const Progress = z
  .object({
    jobId: z.uuid(),
    status: Status,
    progress: z.int().min(0).max(100),
    detail: Json.nullable(),
    version: z.int(),
    tasks: Counts,
    error: Failure.nullable(),
    ...Times,
  })
  .meta({ id: 'Progress' });
const Job = z
  .object({
    ...Progress.shape,
    ownerId: z.string(),
    submittedBy: z.string().meta({ description: 'The credential it was submitted with.' }),
    type: z.string(),
    tag: z.string().nullable(),
    generation: z.int(),
    failurePolicy: z.enum(FAILURE_POLICIES),
    attempts: z.int(),
    priority: z.int(),
    labels: z.record(z.string(), z.string()),
    expiresAt: Time.nullable(),
    scheduleId: z.uuid().nullable().meta({ description: 'The schedule that has made it.' }),
    slot: Time.nullable().meta({ description: 'Its instant in the schedule.' }),
    payload: Json,
    result: Json.nullable(),
    cancelReceipt: Receipt.nullable(),
  })
  .meta({ id: 'Job' });
const Task = z
  .object({
    taskId: z.uuid(),
    position: z.int(),
    key: z.string().nullable(),
    status: z.enum(TASK_STATUSES),
    progress: z.int(),
    attempt: z.int(),
    worker: z.uuid().nullable(),
    result: Json.nullable(),
    error: Failure.nullable(),
    startedAt: Time.nullable(),
    finishedAt: Time.nullable(),
  })
  .meta({ id: 'Task' });
const Event = z
  .object({
    id: z.string().meta({ description: 'Where it stands in its job: `<version>.<index>`.' }),
    generation: z.int(),
    version: z.int(),
    kind: z.string().meta({ description: 'Such as job.queued, task.active or job.completed.' }),
    at: Time,
    actor: z.string(),
    reason: z.string().nullable(),
    taskId: z.uuid().optional(),
    attempt: z.int().optional(),
    worker: z.uuid().optional(),
    count: z.int().optional().meta({ description: 'How many tasks a plan has added.' }),
  })
  .meta({ id: 'JobEvent' });
const Reason = z.object({
  code: z.enum(WAIT_CODES),
  message: z.string(),
  until: Time.optional().meta({ description: 'When it ends by itself, where that is known.' }),
});
const Pause = z
  .object({
    kind: z.enum(['type', 'tag']),
    name: z.string(),
    actor: z.string(),
    reason: z.string().nullable(),
    since: Time,
    until: Time.nullable(),
  })
  .meta({ id: 'Pause' });
const nextCursor = z.string().nullable();

const ANSWERS = {
  job: Job,
  submitted: z.object({ ...Job.shape, success: z.literal(true) }),
  page: z.object({ jobs: z.array(Job), nextCursor }),
  progress: Progress,
  status: z.object({ jobId: z.uuid(), status: Status }),
  events: z.object({ events: z.array(Event), nextCursor }),
  tasks: z.object({ tasks: z.array(Task), nextCursor }),
  explanation: z.object({ jobId: z.uuid(), reasons: z.array(Reason), estimatedStart: Time.nullable() }),
  pause: Pause,
  pauses: z.object({ pauses: z.array(Pause) }),
};

/** The problems of a route that is sent a body, or may be. */
export const OF_A_BODY = ['malformed-request', 'payload-too-large', 'unsupported-media-type'] as const;

/** With what every route but the public ones may refuse. */
export const OF_EVERY_ROUTE = [
  'unauthenticated',
  'insufficient-scope',
  'address-not-allowed',
  'not-acceptable',
  'rate-limited',
  'internal-error',
  'auth-unavailable',
  'service-unavailable',
] as const;

const ProblemBody = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().meta({ description: 'The request, `urn:longhaul:request:` and its X-Request-Id.' }),
    errors: z.array(z.object({ pointer: z.string(), message: z.string() })).optional(),
    jobStatus: Status.optional(),
    jobId: z.string().optional(),
  })
  .meta({ id: 'Problem' });

/** How far a job is. */
export function progressOf(job: JobView): object {
  const { jobId, status, progress, detail, version, tasks, error, runAt, createdAt, startedAt, finishedAt } =
    job;
  return { jobId, status, progress, detail, version, tasks, error, runAt, createdAt, startedAt, finishedAt };
}

/** Documents what a route answers. */
export function Answers(status: number, answer: keyof typeof ANSWERS): MethodDecorator {
  return ApiResponse({ status, description: 'Done', standardSchema: ANSWERS[answer] });
}

/** Documents with which problems a route, or every route of a controller, refuses. */
export function Refuses(...slugs: ProblemSlug[]): MethodDecorator & ClassDecorator {
  const statuses = new Set<number>(slugs.map((slug) => PROBLEMS[slug].status));
  return applyDecorators(
    ...[...statuses].map((status) => {
      const those = slugs.filter((slug) => PROBLEMS[slug].status === status);
      return ApiResponse({ status, description: those.join(', '), standardSchema: ProblemBody });
    }),
  );
}
