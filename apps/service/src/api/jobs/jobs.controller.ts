import {
  Body,
  Controller,
  Delete,
  Get,
  Headers,
  HttpCode,
  Param,
  Post,
  Put,
  Query,
  Res,
} from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiQuery, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { Job, JobStatus } from '@app/core';
import { Explainer } from '@app/engine/explain.js';
import { Jobs } from '@app/engine/jobs.js';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import { jobNotFound, pointerTo, ProblemError, validationError } from '../problems/problem.js';
import { Cursors } from './cursors.js';
import { isKnown } from './job-etag.js';
import { ownerFor } from './owner-for.js';
import { OF_A_BODY, Answers, OF_EVERY_ROUTE, progressOf, Refuses } from './jobs.answers.js';
import {
  CancelBody,
  IdempotencyKey,
  LIMIT_PARAMETER,
  ListQuery,
  RescheduleBody,
  SubmitBody,
  PageQuery,
} from './jobs.schemas.js';

/** The problems of the routes that change a job. */
export const OF_A_CHANGE = ['not-found', 'validation-error', 'invalid-transition', ...OF_A_BODY] as const;

/** Submits, lists, shows and cancels the caller's own jobs. */
@ApiTags('jobs')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('jobs')
export class JobsController {
  constructor(
    private readonly jobs: Jobs,
    private readonly explainer: Explainer,
    private readonly types: JobTypeRegistry,
    private readonly cursors: Cursors,
  ) {}

  @Post()
  @TakesNo('query')
  @RequiresScope('jobs:write')
  @ApiOperation({
    summary: 'Submit a job',
    description: 'When this answers 201, the job is recorded and will run.',
  })
  @ApiHeader({
    name: 'Idempotency-Key',
    description: 'Makes a repeated submit give the first job again.',
    required: false,
  })
  @Answers(201, 'submitted')
  @Refuses(
    'validation-error',
    'unknown-job-type',
    'too-many-tasks',
    'duplicate-job',
    'quota-exceeded',
    'idempotency-mismatch',
    ...OF_A_BODY,
  )
  async submit(
    @Body({ schema: SubmitBody }) body: SubmitBody,
    @Headers('idempotency-key') header: string | undefined,
    @CurrentPrincipal() principal: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const key = IdempotencyKey.safeParse(header);
    if (!key.success) {
      throw validationError([{ pointer: 'Idempotency-Key', message: key.error.issues[0]?.message ?? '' }]);
    }
    const options = key.data === undefined ? {} : { idempotencyKey: key.data };
    const { job, replayed } = await this.jobs.submit(body, principal, options);
    void reply.header('Location', `/jobs/${job.jobId}`);
    if (replayed) void reply.header('Idempotency-Replayed', 'true');
    return { ...job, success: true };
  }

  @Get()
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'List the own jobs, newest first',
    description: 'With several filters, the jobs that all of them let through.',
  })
  @ApiQuery(LIMIT_PARAMETER)
  @Answers(200, 'page')
  @Refuses('validation-error')
  async list(@Query({ schema: ListQuery }) query: ListQuery, @CurrentPrincipal() { ownerId }: Principal) {
    const { limit, cursor, filter } = query;
    this.checkLabels(filter.labels ?? {});
    const list = ['jobs', ownerId, filter];
    const after = cursor === undefined ? {} : { after: await this.cursors.readJob(list, cursor) };
    // One more than asked for tells whether there is a next page.
    const found = await this.jobs.page(ownerId, { limit: limit + 1, filter, ...after });
    const jobs = found.slice(0, limit);
    const last = found.length > limit ? jobs.at(-1) : undefined;
    return { jobs, nextCursor: last ? await this.cursors.afterJob(list, last) : null };
  }

  @Get(':jobId')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show a job' })
  @Answers(200, 'job')
  @Refuses('not-found', 'validation-error')
  async find(
    @Param('jobId') jobId: string,
    @CurrentPrincipal() principal: Principal,
    @Headers('if-none-match') known: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Job | undefined> {
    const job = await this.own(principal, jobId);
    return isKnown(job, known, reply) ? undefined : job;
  }

  @Get(':jobId/progress')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show how far a job is, with its times and error' })
  @Answers(200, 'progress')
  @Refuses('not-found', 'validation-error')
  async progress(
    @Param('jobId') jobId: string,
    @CurrentPrincipal() principal: Principal,
    @Headers('if-none-match') known: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const job = await this.own(principal, jobId);
    return isKnown(job, known, reply) ? undefined : progressOf(job);
  }

  @Get(':jobId/status')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show the state of a job alone' })
  @Answers(200, 'status')
  @Refuses('not-found', 'validation-error')
  async status(
    @Param('jobId') jobId: string,
    @CurrentPrincipal() principal: Principal,
    @Headers('if-none-match') known: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const job = await this.own(principal, jobId);
    return isKnown(job, known, reply) ? undefined : { jobId: job.jobId, status: job.status };
  }

  @Get(':jobId/tasks')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List the tasks of a job in their order' })
  @ApiQuery(LIMIT_PARAMETER)
  @Answers(200, 'tasks')
  @Refuses('not-found', 'validation-error')
  async tasks(
    @Param('jobId') jobId: string,
    @Query({ schema: PageQuery }) { limit, cursor }: PageQuery,
    @CurrentPrincipal() principal: Principal,
  ) {
    const ownerId = await ownerFor(this.jobs, principal, jobId);
    const list = ['tasks', ownerId, jobId.toLowerCase()];
    const after = cursor === undefined ? {} : { after: await this.cursors.readTask(list, cursor) };
    const found = await this.jobs.tasks(ownerId, jobId, { limit: limit + 1, ...after });
    if (!found) throw jobNotFound();
    const tasks = found.slice(0, limit);
    const last = found.length > limit ? tasks.at(-1) : undefined;
    return { tasks, nextCursor: last ? await this.cursors.afterTask(list, last.position) : null };
  }

  @Get(':jobId/explain')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'Tell why a job waits',
    description: 'What holds it now, the first reason first, and when it may begin. None: nothing holds it.',
  })
  @Answers(200, 'explanation')
  @Refuses('not-found', 'validation-error')
  async explain(@Param('jobId') jobId: string, @CurrentPrincipal() principal: Principal) {
    const explanation = await this.explainer.explain(await ownerFor(this.jobs, principal, jobId), jobId);
    if (!explanation) throw jobNotFound();
    return explanation;
  }

  @Post(':jobId/cancel')
  @Audited('job.cancel')
  @TakesNo('query')
  @HttpCode(200)
  @RequiresScope('jobs:write')
  @ApiOperation({
    summary: 'Cancel a job',
    description: 'From the answer on the job is canceled; its receipt tells how running attempts took it.',
  })
  @Answers(200, 'job')
  @Refuses(...OF_A_CHANGE)
  cancel(
    @Param('jobId') jobId: string,
    @Body({ schema: CancelBody }) body: CancelBody,
    @CurrentPrincipal() principal: Principal,
  ): Promise<Job> {
    return this.cancelOwn(principal, jobId, body?.reason);
  }

  @Delete(':jobId')
  @Audited('job.cancel')
  @TakesNo('query', 'body')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Cancel a job, as POST /jobs/:jobId/cancel does' })
  @Answers(200, 'job')
  @Refuses(...OF_A_CHANGE)
  remove(@Param('jobId') jobId: string, @CurrentPrincipal() principal: Principal): Promise<Job> {
    return this.cancelOwn(principal, jobId, undefined);
  }

  @Put(':jobId')
  @Audited('job.reschedule')
  @TakesNo('query')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Move a scheduled job to another time' })
  @Answers(200, 'job')
  @Refuses(...OF_A_CHANGE)
  async reschedule(
    @Param('jobId') jobId: string,
    @Body({ schema: RescheduleBody }) { runAt }: RescheduleBody,
    @CurrentPrincipal() principal: Principal,
  ): Promise<Job> {
    const ownerId = await ownerFor(this.jobs, principal, jobId);
    const { actor } = principal;
    return settled(
      await this.jobs.reschedule(ownerId, jobId, new Date(runAt), { actor }),
      'be moved to another time',
    );
  }

  @Post(':jobId/retry')
  @Audited('job.retry')
  @TakesNo('query', 'body')
  @HttpCode(200)
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Run again what did not complete of a failed or canceled job' })
  @Answers(200, 'job')
  @Refuses(...OF_A_CHANGE, 'duplicate-job', 'exit-pending')
  async retry(@Param('jobId') jobId: string, @CurrentPrincipal() principal: Principal): Promise<Job> {
    const ownerId = await ownerFor(this.jobs, principal, jobId);
    return settled(await this.jobs.retry(ownerId, jobId, { actor: principal.actor }), 'be retried');
  }

  private checkLabels(labels: Record<string, string[]>): void {
    const known = this.types.searchable;
    const issues = Object.keys(labels)
      .filter((key) => !known.includes(key))
      .map((key) => ({
        pointer: pointerTo([`labels.${key}`]),
        message: `No job type declares this label searchable. Known: ${known.join(', ') || 'none'}.`,
      }));
    if (issues.length > 0) throw validationError(issues);
  }

  private async own(principal: Principal, jobId: string): Promise<Job> {
    const job = await this.jobs.find(await ownerFor(this.jobs, principal, jobId), jobId);
    if (!job) throw jobNotFound();
    return job;
  }

  private async cancelOwn(principal: Principal, jobId: string, reason: string | undefined): Promise<Job> {
    const by = { actor: principal.actor, ...(reason === undefined ? {} : { reason }) };
    return settled(
      await this.jobs.cancel(await ownerFor(this.jobs, principal, jobId), jobId, by),
      'be canceled',
    );
  }
}

/** The job of a change that was made; a change that its state does not allow, or a job that is not there, is thrown. */
function settled(
  change: { kind: string; job: Job } | { kind: 'refused' | 'exiting'; status: JobStatus } | undefined,
  what: string,
): Job {
  if (!change) throw jobNotFound();
  if ('job' in change) return change.job;
  const jobStatus = change.status;
  if (change.kind === 'exiting') {
    const detail = `The job is ${jobStatus}, and what is to be done at its end is not over yet. Ask again a little later.`;
    throw new ProblemError('exit-pending', detail, { jobStatus });
  }
  throw new ProblemError('invalid-transition', `The job is ${jobStatus} and cannot ${what}.`, { jobStatus });
}
