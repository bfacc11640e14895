import { Body, Controller, Delete, Get, Param, Put } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { Pauses } from '@app/engine/pauses.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { OF_A_BODY, Answers, OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { ProblemError } from '../problems/problem.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import { PauseBody } from './pauses.schemas.js';

type Kind = Parameters<Pauses['knows']>[0];

/** Shows, begins and ends pauses of types and tags. */
@ApiTags('pauses')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('pauses')
export class PausesController {
  constructor(private readonly pauses: Pauses) {}

  @Get()
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List the pauses that hold now' })
  @Answers(200, 'pauses')
  @Refuses('validation-error')
  async list() {
    return { pauses: await this.pauses.list() };
  }

  @Put('types/:name')
  @Audited('type.pause')
  @TakesNo('query')
  @RequiresScope('admin')
  @ApiOperation({
    summary: 'Pause a job type',
    description:
      'Nothing of it begins from the answer on; what runs goes on. A repeat changes reason and end.',
  })
  @Answers(200, 'pause')
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  pauseType(
    @Param('name') name: string,
    @Body({ schema: PauseBody }) body: PauseBody,
    @CurrentPrincipal() principal: Principal,
  ) {
    return this.pause('type', name, body, principal);
  }

  @Put('tags/:name')
  @Audited('tag.pause')
  @TakesNo('query')
  @RequiresScope('admin')
  @ApiOperation({ summary: 'Pause a tag, as PUT /pauses/types/:name does a type' })
  @Answers(200, 'pause')
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  pauseTag(
    @Param('name') name: string,
    @Body({ schema: PauseBody }) body: PauseBody,
    @CurrentPrincipal() principal: Principal,
  ) {
    return this.pause('tag', name, body, principal);
  }

  @Delete('types/:name')
  @Audited('type.resume')
  @TakesNo('query', 'body')
  @RequiresScope('admin')
  @ApiOperation({ summary: 'Resume a job type' })
  @Answers(200, 'pauses')
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  resumeType(@Param('name') name: string, @CurrentPrincipal() principal: Principal) {
    return this.resume('type', name, principal);
  }

  @Delete('tags/:name')
  @Audited('tag.resume')
  @TakesNo('query', 'body')
  @RequiresScope('admin')
  @ApiOperation({ summary: 'Resume a tag' })
  @Answers(200, 'pauses')
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  resumeTag(@Param('name') name: string, @CurrentPrincipal() principal: Principal) {
    return this.resume('tag', name, principal);
  }

  private pause(kind: Kind, name: string, body: PauseBody, { actor }: Principal) {
    if (!this.pauses.knows(kind, name))
      throw new ProblemError('not-found', `There is no ${kind} of this name.`);
    const until = body?.until === undefined ? null : new Date(body.until);
    return this.pauses.pause({ kind, name, actor, reason: body?.reason ?? null, until });
  }

  private async resume(kind: Kind, name: string, { actor }: Principal) {
    const resumed = await this.pauses.resume(kind, name, { actor });
    if (!resumed) throw new ProblemError('not-found', `This ${kind} is not paused.`);
    return this.list();
  }
}
