import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { Job, Schedule } from '@app/core';
import { Schedules } from '@app/engine/schedules.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { validate as isUuid } from 'uuid';
import type { ZodType } from 'zod';
import { Cursors } from '../jobs/cursors.js';
import { Answers, OF_A_BODY, OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { LIMIT_PARAMETER } from '../jobs/jobs.schemas.js';
import { PauseBody } from '../pauses/pauses.schemas.js';
import { ProblemError } from '../problems/problem.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import { PreviewAnswer, ScheduleAnswer, SchedulesAnswer, SlotsAnswer } from './schedules.answers.js';
import { ChangeBody, PreviewBody, ScheduleBody, SchedulesQuery, SlotsQuery } from './schedules.schemas.js';

const Done = (status: number, standardSchema: ZodType) =>
  ApiResponse({ status, description: 'Done', standardSchema });
const OF_A_SCHEDULE = ['not-found', 'validation-error'] as const;

/** Makes, shows and changes the caller's own schedules. */
@ApiTags('schedules')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('schedules')
export class SchedulesController {
  constructor(
    private readonly schedules: Schedules,
    private readonly cursors: Cursors,
  ) {}

  @Post()
  @Audited('schedule.create')
  @TakesNo('query')
  @RequiresScope('schedules:write')
  @ApiOperation({ summary: 'Make a schedule', description: 'Its slots begin after now.' })
  @Done(201, ScheduleAnswer)
  @Refuses('validation-error', 'duplicate-schedule', 'quota-exceeded', ...OF_A_BODY)
  async create(
    @Body({ schema: ScheduleBody }) body: ScheduleBody,
    @CurrentPrincipal() principal: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const schedule = await this.schedules.create(body, principal);
    void reply.header('Location', `/schedules/${schedule.scheduleId}`);
    return schedule;
  }

  @Post('preview')
  @TakesNo('query')
  @HttpCode(200)
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show the next instants of a schedule without making it' })
  @Done(200, PreviewAnswer)
  @Refuses('validation-error', ...OF_A_BODY)
  preview(@Body({ schema: PreviewBody }) body: PreviewBody) {
    return { next: this.schedules.preview(body) };
  }

  @Get()
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List the own schedules, newest first' })
  @ApiQuery(LIMIT_PARAMETER)
  @Done(200, SchedulesAnswer)
  @Refuses('validation-error')
  async list(
    @Query({ schema: SchedulesQuery }) { limit, cursor }: SchedulesQuery,
    @CurrentPrincipal() { ownerId }: Principal,
  ) {
    const list = ['schedules', ownerId];
    const after = cursor === undefined ? undefined : await this.cursors.readJob(list, cursor);
    const from = after && { after: { createdAt: after.createdAt, scheduleId: after.jobId } };
    // One more than asked for tells whether there is a next page.
    const found = await this.schedules.page(ownerId, { limit: limit + 1, ...from });
    const schedules = found.slice(0, limit);
    const last = found.length > limit ? schedules.at(-1) : undefined;
    const place = last && { createdAt: last.createdAt, jobId: last.scheduleId };
    return { schedules, nextCursor: place ? await this.cursors.afterJob(list, place) : null };
  }

  @Get(':scheduleId')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show a schedule and its next instants' })
  @Done(200, ScheduleAnswer)
  @Refuses(...OF_A_SCHEDULE)
  async find(@Param('scheduleId') id: string, @CurrentPrincipal() principal: Principal): Promise<Schedule> {
    return found(await this.schedules.find(await this.ownerFor(principal, id), id));
  }

  @Patch(':scheduleId')
  @Audited('schedule.change')
  @TakesNo('query')
  @RequiresScope('schedules:write')
  @ApiOperation({
    summary: 'Change a schedule',
    description:
      'What is not given stays; null takes back what was given. Where its slots or jobs become others, its jobs that have not begun are canceled.',
  })
  @Done(200, ScheduleAnswer)
  @Refuses(...OF_A_SCHEDULE, 'duplicate-schedule', 'declared-schedule', ...OF_A_BODY)
  async change(
    @Param('scheduleId') id: string,
    @Body({ schema: ChangeBody }) body: ChangeBody,
    @CurrentPrincipal() principal: Principal,
  ): Promise<Schedule> {
    const { actor } = principal;
    return found(await this.schedules.change(await this.ownerFor(principal, id), id, body, { actor }));
  }

  @Delete(':scheduleId')
  @Audited('schedule.delete')
  @TakesNo('query', 'body')
  @RequiresScope('schedules:write')
  @ApiOperation({
    summary: 'Delete a schedule',
    description: 'Nothing of it begins from the answer on; what runs goes on.',
  })
  @Done(200, ScheduleAnswer)
  @Refuses(...OF_A_SCHEDULE, 'declared-schedule', ...OF_A_BODY)
  async remove(@Param('scheduleId') id: string, @CurrentPrincipal() principal: Principal): Promise<Schedule> {
    const { actor } = principal;
    return found(await this.schedules.remove(await this.ownerFor(principal, id), id, { actor }));
  }

  @Post(':scheduleId/pause')
  @Audited('schedule.pause')
  @TakesNo('query')
  @HttpCode(200)
  @RequiresScope('schedules:write')
  @ApiOperation({ summary: 'Pause a schedule', description: 'A repeat changes the reason and the end.' })
  @Done(200, ScheduleAnswer)
  @Refuses(...OF_A_SCHEDULE, ...OF_A_BODY)
  async pause(
    @Param('scheduleId') id: string,
    @Body({ schema: PauseBody }) body: PauseBody,
    @CurrentPrincipal() principal: Principal,
  ): Promise<Schedule> {
    const until = body?.until === undefined ? null : new Date(body.until);
    const pause = { actor: principal.actor, reason: body?.reason ?? null, until };
    return found(await this.schedules.pause(await this.ownerFor(principal, id), id, pause));
  }

  @Post(':scheduleId/resume')
  @Audited('schedule.resume')
  @TakesNo('query', 'body')
  @HttpCode(200)
  @RequiresScope('schedules:write')
  @ApiOperation({ summary: 'Resume a schedule' })
  @Done(200, ScheduleAnswer)
  @Refuses(...OF_A_SCHEDULE, ...OF_A_BODY)
  async resume(@Param('scheduleId') id: string, @CurrentPrincipal() principal: Principal): Promise<Schedule> {
    return found(await this.schedules.resume(await this.ownerFor(principal, id), id));
  }

  @Post(':scheduleId/trigger')
  @Audited('schedule.trigger')
  @TakesNo('query', 'body')
  @RequiresScope('schedules:write')
  @ApiOperation({ summary: 'Make a job of a schedule now', description: 'Also of one that is paused.' })
  @Answers(201, 'job')
  @Refuses(...OF_A_SCHEDULE, 'duplicate-job', 'quota-exceeded', ...OF_A_BODY)
  async trigger(
    @Param('scheduleId') id: string,
    @CurrentPrincipal() principal: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Job> {
    const { actor } = principal;
    const job = found(await this.schedules.trigger(await this.ownerFor(principal, id), id, { actor }));
    void reply.header('Location', `/jobs/${job.jobId}`);
    return job;
  }

  @Get(':scheduleId/slots')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List what became of the slots of a schedule, the latest first, with their jobs' })
  @ApiQuery(LIMIT_PARAMETER)
  @Done(200, SlotsAnswer)
  @Refuses(...OF_A_SCHEDULE)
  async slots(
    @Param('scheduleId') id: string,
    @Query({ schema: SlotsQuery }) { limit, cursor, filter }: SlotsQuery,
    @CurrentPrincipal() principal: Principal,
  ) {
    const ownerId = await this.ownerFor(principal, id);
    const list = ['slots', ownerId, id.toLowerCase(), filter];
    const from = cursor === undefined ? {} : { before: await this.cursors.readSlot(list, cursor) };
    const all = found(await this.schedules.slots(ownerId, id, { limit: limit + 1, filter, ...from }));
    const slots = all.slice(0, limit);
    const last = all.length > limit ? slots.at(-1) : undefined;
    return { slots, nextCursor: last ? await this.cursors.beforeSlot(list, last.slot) : null };
  }

  /** An administrator acts for the owner of a schedule, everybody else for themselves. */
  private async ownerFor({ ownerId, scopes }: Principal, scheduleId: string): Promise<string> {
    if (!isUuid(scheduleId)) throw scheduleNotFound();
    return scopes.includes('admin') ? ((await this.schedules.ownerOf(scheduleId)) ?? ownerId) : ownerId;
  }
}

/** The one answer for a schedule that is not there and for one of somebody else. */
function found<T>(what: T | undefined): T {
  if (what === undefined) throw scheduleNotFound();
  return what;
}

function scheduleNotFound(): ProblemError {
  return new ProblemError('not-found', 'There is no schedule of this id.');
}
