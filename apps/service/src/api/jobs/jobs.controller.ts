import { Body, Controller, Delete, Headers, HttpCode, Param, Post, Put, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { Job, JobStatus } from '@app/core';
import { Jobs } from '@app/engine/jobs.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import { jobNotFound, ProblemError, validationError } from '../problems/problem.js';
import { ownerFor } from './owner-for.js';
import { OF_A_BODY, Answers, OF_EVERY_ROUTE, Refuses } from './jobs.answers.js';
import { CancelBody, IdempotencyKey, RescheduleBody, SubmitBody } from './jobs.schemas.js';

/** The problems of the routes that change a job. */
export const OF_A_CHANGE = ['not-found', 'validation-error', 'invalid-transition', ...OF_A_BODY] as const;

/** Submits, cancels, moves and retries the caller's own jobs, and changes those of everybody for administrators. */
@ApiTags('jobs')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('jobs')
export class JobsController {
  constructor(private readonly jobs: Jobs) {}

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
