import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { Jobs } from '@app/engine/jobs.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { jobNotFound } from '../problems/problem.js';
import { Cursors } from './cursors.js';
import { ownerFor } from './owner-for.js';
import { Answers, OF_EVERY_ROUTE, Refuses } from './jobs.answers.js';
import { LIMIT_PARAMETER, PageQuery } from './jobs.schemas.js';

/** Shows the ledgers of the caller's own jobs. */
@ApiTags('jobs')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('jobs')
export class EventsController {
  constructor(
    private readonly jobs: Jobs,
    private readonly cursors: Cursors,
  ) {}

  @Get(':jobId/events')
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'Show what has happened to a job, oldest first',
    description: 'Every transition of the job and its tasks, with who made it and why. Progress is none.',
  })
  @ApiQuery(LIMIT_PARAMETER)
  @Answers(200, 'events')
  @Refuses('not-found', 'validation-error')
  async events(
    @Param('jobId') jobId: string,
    @Query({ schema: PageQuery }) { limit, cursor }: PageQuery,
    @CurrentPrincipal() principal: Principal,
  ) {
    const ownerId = await ownerFor(this.jobs, principal, jobId);
    const list = ['events', ownerId, jobId.toLowerCase()];
    const after = cursor === undefined ? {} : { after: await this.cursors.readEvent(list, cursor) };
    const found = await this.jobs.events(ownerId, jobId, { limit: limit + 1, ...after });
    if (!found) throw jobNotFound();
    const last = found.length > limit ? found[limit - 1] : undefined;
    const events = found.slice(0, limit).map(({ cursor: _cursor, ...event }) => event);
    return { events, nextCursor: last ? await this.cursors.afterEvent(list, last.cursor) : null };
  }
}
