import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { EVERY_OWNER } from '@app/engine/store/owner.js';
import { Workers } from '@app/engine/workers.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { TakesNo } from '../refuses-extras.js';

const Running = z.object({
  jobId: z.uuid(),
  taskId: z.uuid().nullable().meta({ description: 'Null for the plan of a job.' }),
  type: z.string(),
  startedAt: z.iso.datetime(),
});
const Worker = z.object({
  workerId: z.uuid(),
  host: z.string(),
  tags: z.array(z.string()),
  queues: z.array(z.string()),
  slots: z.int(),
  types: z.array(z.object({ name: z.string(), version: z.int() })),
  startedAt: z.iso.datetime(),
  seenAt: z.iso.datetime(),
  runningCount: z.int().meta({ description: 'Of all owners.' }),
  running: z.array(Running).meta({ description: 'Of the caller; of all owners with the scope admin.' }),
});

/** Shows the live workers. */
@ApiTags('workers')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('workers')
export class WorkersController {
  constructor(private readonly workers: Workers) {}

  @Get()
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({
    summary: 'List the live workers and what they run',
    description: 'Tasks of other owners are counted, and named only with the scope admin.',
  })
  @ApiResponse({
    status: 200,
    description: 'Done',
    standardSchema: z.object({ workers: z.array(Worker) }),
  })
  @Refuses('validation-error')
  async list(@CurrentPrincipal() { ownerId, scopes }: Principal) {
    return { workers: await this.workers.live(scopes.includes('admin') ? EVERY_OWNER : ownerId) };
  }
}
