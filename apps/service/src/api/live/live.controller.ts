import { Controller, Get, Headers, HttpCode, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import {
  CurrentPrincipal,
  type Principal,
  RequiresScope,
  TakesTickets,
} from '@app/platform/auth/principal.js';
import { TicketStore } from '@app/platform/prisma/ticket-store.js';
import { StreamsEvents } from '../answers-json.js';
import { OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { TakesNo } from '../refuses-extras.js';
import { EventStreams } from './event-streams.js';
import { FeedQuery } from './live.schemas.js';

const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  required: false,
  description: 'The id of the last event that came.',
} as const;

/** Tells what happens to the jobs of the caller. */
@ApiTags('live')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller()
export class LiveController {
  constructor(
    private readonly streams: EventStreams,
    private readonly tickets: TicketStore,
  ) {}

  @Get('events')
  @RequiresScope('jobs:read')
  @TakesTickets()
  @StreamsEvents('only')
  @ApiOperation({
    summary: 'Tell what happens to the jobs of the caller',
    description:
      'Server-sent events, from now on or since an id: each event once, and in order within a job. They are `job-update`, ' +
      '`task-update`, `subscribed` and, where what has happened cannot be told any more, `snapshot`.',
  })
  @ApiHeader(LAST_EVENT_ID)
  @ApiResponse({
    status: 200,
    description: 'Events, until the caller goes',
    content: { 'text/event-stream': { schema: { type: 'string' } } },
  })
  @Refuses('validation-error')
  events(
    @Query({ schema: FeedQuery }) { after, jobId = [], type = [] }: FeedQuery,
    @Headers('last-event-id') lastEventId: string | undefined,
    @CurrentPrincipal() principal: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.streams.feed(principal, { jobIds: jobId, types: type }, lastEventId || after, reply);
  }

  @Post('ws-tickets')
  @HttpCode(201)
  @TakesNo('query', 'body')
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'Issue a ticket for a WebSocket or an EventSource of a browser',
    description: 'It lets in once, within 30 seconds, and stands for the credential of this request.',
  })
  @ApiResponse({
    status: 201,
    description: 'Issued',
    standardSchema: z.object({ ticket: z.string(), expiresAt: z.iso.datetime() }),
  })
  @Refuses('validation-error', 'malformed-request', 'payload-too-large', 'unsupported-media-type')
  issue(@CurrentPrincipal() principal: Principal) {
    return this.tickets.issue(principal);
  }
}
