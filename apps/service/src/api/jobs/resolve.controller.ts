import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { validate as isUuid } from 'uuid';
import type { Job } from '@app/core';
import { Jobs } from '@app/engine/jobs.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import { jobNotFound, ProblemError } from '../problems/problem.js';
import { Answers, OF_EVERY_ROUTE, Refuses } from './jobs.answers.js';
import { OF_A_CHANGE } from './jobs.controller.js';
import { ResolveBody } from './jobs.schemas.js';

/** Ends jobs, of whichever owner, that wait for a Catalog which never answers. */
@ApiTags('jobs')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('jobs')
export class ResolveController {
  constructor(private readonly jobs: Jobs) {}

  @Post(':jobId/resolve')
  @Audited('job.resolve')
  @TakesNo('query')
  @HttpCode(200)
  @RequiresScope('admin')
  @ApiOperation({
    summary: 'End a job that is being finalized, for administrators',
    description: 'The Catalog is not asked any more. Of any owner’s job.',
  })
  @Answers(200, 'job')
  @Refuses(...OF_A_CHANGE)
  async resolve(
    @Param('jobId') jobId: string,
    @Body({ schema: ResolveBody }) body: ResolveBody,
    @CurrentPrincipal() { actor }: Principal,
  ): Promise<Job> {
    const resolved = isUuid(jobId) ? await this.jobs.resolve(jobId, body, { actor }) : undefined;
    if (!resolved) throw jobNotFound();
    if (resolved.kind === 'resolved') return resolved.job;
    const { status: jobStatus } = resolved;
    throw new ProblemError(
      'invalid-transition',
      `The job is ${jobStatus}: only one that is finalizing can be resolved.`,
      {
        jobStatus,
      },
    );
  }
}
