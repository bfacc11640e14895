import { Controller, Get, Headers, Param, Query, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiQuery, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Jobs } from '@app/engine/jobs.js';
import {
  CurrentPrincipal,
  type Principal,
  RequiresScope,
  TakesTickets,
} from '@app/platform/auth/principal.js';
import { asksForEvents, StreamsEvents } from '../answers-json.js';
import { EventStreams } from '../live/event-streams.js';
import { JobEventsQuery } from '../live/live.schemas.js';
import { jobNotFound } from '../problems/problem.js';
import { Cursors } from './cursors.js';
import { ownerFor } from './owner-for.js';
import { Answers, OF_EVERY_ROUTE, Refuses } from './jobs.answers.js';
import { LIMIT_PARAMETER } from './jobs.schemas.js';

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
    private readonly streams: EventStreams,
  ) {}

  @Get(':jobId/events')
  @RequiresScope('jobs:read')
  @TakesTickets()
  @StreamsEvents('too')
  @ApiOperation({
    summary: 'Show what has happened to a job, oldest first',
    description:
      'Every transition of the job and its tasks, with who made it and why. Progress is none. With `Accept: text/event-stream` ' +
      'they are told as server-sent events `job-update` and `task-update`, and what comes too, until the job ends.',
  })
  @ApiQuery(LIMIT_PARAMETER)
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'Of a stream: the id of the last event that came.',
  })
  @Answers(200, 'events')
  @Refuses('not-found', 'validation-error')
  async events(
    @Param('jobId') jobId: string,
    @Query({ schema: JobEventsQuery }) { limit, cursor, after: given }: JobEventsQuery,
    @Headers('last-event-id') lastEventId: string | undefined,
    @CurrentPrincipal() principal: Principal,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const ownerId = await ownerFor(this.jobs, principal, jobId);
    if (asksForEvents(request)) {
      if (!(await this.jobs.find(ownerId, jobId))) throw jobNotFound();
      return this.streams.job(principal, ownerId, jobId.toLowerCase(), lastEventId || given, reply);
    }
    const list = ['events', ownerId, jobId.toLowerCase()];
    const after = cursor === undefined ? {} : { after: await this.cursors.readEvent(list, cursor) };
    const found = await this.jobs.events(ownerId, jobId, { limit: limit + 1, ...after });
    if (!found) throw jobNotFound();
    const last = found.length > limit ? found[limit - 1] : undefined;
    const events = found.slice(0, limit).map(({ cursor: _cursor, ...event }) => event);
    return { events, nextCursor: last ? await this.cursors.afterEvent(list, last.cursor) : null };
  }
}
