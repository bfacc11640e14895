import { Controller, Get, Optional, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '@app/platform/auth/principal.js';
import { Database } from '@app/platform/prisma/database.js';
import { EngineHealth } from '@app/engine/execution/engine-health.js';
import { Redis } from '@app/platform/redis/redis.js';
import { ServiceState } from './service-state.js';

/** Tells whoever runs the service whether it lives and whether it may be sent requests. */
@ApiTags('health')
@Controller('health')
export class HealthController {
  constructor(
    private readonly database: Database,
    private readonly redis: Redis,
    private readonly state: ServiceState,
    @Optional() private readonly engine?: EngineHealth,
  ) {}

  @Public()
  @Get('live')
  @ApiOperation({ summary: 'Whether the process lives, and still takes work if it is a task worker' })
  live(@Res({ passthrough: true }) reply: FastifyReply) {
    const trouble = this.engine?.trouble;
    if (trouble !== undefined) void reply.status(503);
    return trouble === undefined ? { status: 'ok' } : { status: 'stuck', reason: trouble };
  }

  /** Without Redis jobs are still accepted, read and canceled, so the process stays ready and says `degraded`. */
  @Public()
  @Get('ready')
  @ApiOperation({ summary: 'Whether the process can do its work' })
  async ready(@Res({ passthrough: true }) reply: FastifyReply) {
    const postgres = await this.database.answers();
    const redis = this.redis.ready;
    const able = postgres && !this.state.stopping;
    if (!able) void reply.status(503);
    const status = able ? (redis ? 'ok' : 'degraded') : this.state.stopping ? 'stopping' : 'unavailable';
    return { status, postgres: postgres ? 'ok' : 'unavailable', redis: redis ? 'ok' : 'unavailable' };
  }
}
