import { Controller, Get, Headers, Param, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { Job } from '@app/core';
import { Explainer } from '@app/engine/explain.js';
import { Jobs } from '@app/engine/jobs.js';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { TakesNo } from '../refuses-extras.js';
import { jobNotFound, pointerTo, validationError } from '../problems/problem.js';
import { Cursors } from './cursors.js';
import { isKnown } from './job-etag.js';
import { ownerFor } from './owner-for.js';
import { Answers, OF_EVERY_ROUTE, progressOf, Refuses } from './jobs.answers.js';
import { ALL_OWNERS, LIMIT_PARAMETER, ListQuery, PageQuery } from './jobs.schemas.js';

/** Lists and shows the caller's own jobs, and to administrators those of everybody. */
@ApiTags('jobs')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('jobs')
export class JobViewsController {
  constructor(
    private readonly jobs: Jobs,
    private readonly explainer: Explainer,
    private readonly types: JobTypeRegistry,
    private readonly cursors: Cursors,
  ) {}

  @Get()
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'List the own jobs, newest first',
    description: 'With several filters, the jobs that all of them let through.',
  })
  @ApiQuery(LIMIT_PARAMETER)
  @Answers(200, 'page')
  @Refuses('validation-error')
  async list(@Query({ schema: ListQuery }) query: ListQuery, @CurrentPrincipal() principal: Principal) {
    const { limit, cursor, filter, ownerId: asked } = query;
    this.checkLabels(filter.labels ?? {});
    if (asked !== undefined && !principal.scopes.includes('admin')) {
      throw validationError([{ pointer: '/ownerId', message: 'Only for the scope admin.' }]);
    }
    const list = ['jobs', principal.ownerId, filter, ...(asked === undefined ? [] : [asked])];
    const after = cursor === undefined ? {} : { after: await this.cursors.readJob(list, cursor) };
    const page = { limit, filter, ...after };
    const { jobs, more } = await (asked === ALL_OWNERS
      ? this.jobs.pageOfAll(page)
      : this.jobs.page(asked ?? principal.ownerId, page));
    const last = more ? jobs.at(-1) : undefined;
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
}
