import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';
import { RequiresScope } from '@app/platform/auth/principal.js';
import { Json } from '../jobs/jobs.schemas.js';
import { OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { TakesNo } from '../refuses-extras.js';

const Type = z.object({
  name: z.string(),
  version: z.int(),
  tag: z.string().nullable(),
  plans: z.boolean().meta({ description: 'Whether it plans its tasks itself.' }),
  payload: z.record(z.string(), Json).meta({ description: 'The JSON schema of its payload.' }),
});

/** Shows the job types of this process. */
@ApiTags('job-types')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('job-types')
export class JobTypesController {
  constructor(private readonly types: JobTypeRegistry) {}

  @Get()
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List the job types with the schemas of their payloads' })
  @ApiResponse({
    status: 200,
    description: 'Done',
    standardSchema: z.object({ jobTypes: z.array(Type) }),
  })
  @Refuses('validation-error')
  list() {
    const jobTypes = this.types.names.flatMap((name) => {
      const type = this.types.find(name);
      if (!type) return [];
      const payload = z.toJSONSchema(type.payload, { io: 'input', unrepresentable: 'any' });
      return [{ name, version: type.version, tag: type.tag ?? null, plans: type.hasPlan, payload }];
    });
    return { jobTypes };
  }
}
