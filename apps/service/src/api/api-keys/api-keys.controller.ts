import { Body, Controller, Delete, Get, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { RequiresScope } from '@app/platform/auth/principal.js';
import { ApiKeyStore, type ApiKeySummary } from '@app/platform/prisma/api-key-store.js';
import { OF_A_BODY, OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { LIMIT_PARAMETER } from '../jobs/jobs.schemas.js';
import { ProblemError, validationError } from '../problems/problem.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import {
  ApiKeyAnswer,
  ApiKeyBody,
  ApiKeysAnswer,
  ApiKeysQuery,
  NewApiKeyAnswer,
} from './api-keys.schemas.js';

const KEY_ID = /^[0-9A-Za-z]{8}$/;

/** Makes, lists and revokes API keys, of any owner. */
@ApiTags('api-keys')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@RequiresScope('admin')
@Controller('api-keys')
export class ApiKeysController {
  constructor(private readonly keys: ApiKeyStore) {}

  @Post()
  @Audited('api-key.create')
  @TakesNo('query')
  @ApiOperation({
    summary: 'Make an API key',
    description: 'The answer has the key, which is shown this once: only a hash of it is kept.',
  })
  @ApiResponse({ status: 201, description: 'Done', standardSchema: NewApiKeyAnswer })
  @Refuses('validation-error', ...OF_A_BODY)
  async create(
    @Body({ schema: ApiKeyBody }) { expiresAt, allowedCidrs, ...body }: ApiKeyBody,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const until = expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt) };
    const from = allowedCidrs === undefined ? {} : { allowedCidrs };
    const { text, ...key } = await this.keys.issue({ ...body, ...from, ...until });
    void reply.header('Location', `/api-keys/${key.id}`).header('Cache-Control', 'no-store');
    return { ...shown(key), key: text };
  }

  @Get()
  @ApiOperation({ summary: 'List the API keys, newest first, without their secrets' })
  @ApiQuery(LIMIT_PARAMETER)
  @ApiResponse({ status: 200, description: 'Done', standardSchema: ApiKeysAnswer })
  @Refuses('validation-error')
  async list(@Query({ schema: ApiKeysQuery }) { limit, ownerId, cursor }: ApiKeysQuery) {
    if (cursor !== undefined && !(KEY_ID.test(cursor) && (await this.keys.find(cursor)))) {
      throw validationError([{ pointer: '/cursor', message: 'This is no cursor of a list of keys.' }]);
    }
    const page = {
      ...(ownerId === undefined ? {} : { ownerId }),
      ...(cursor === undefined ? {} : { after: cursor }),
    };
    // One more than asked for tells whether there is a next page.
    const found = await this.keys.list({ limit: limit + 1, ...page });
    const keys = found.slice(0, limit);
    return {
      apiKeys: keys.map(shown),
      nextCursor: found.length > limit ? (keys.at(-1)?.id ?? null) : null,
    };
  }

  @Delete(':keyId')
  @Audited('api-key.revoke')
  @TakesNo('query', 'body')
  @ApiOperation({
    summary: 'Revoke an API key for good',
    description: 'Every process refuses it three seconds later at most. A repeat gives the first answer.',
  })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: ApiKeyAnswer })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async revoke(@Param('keyId') keyId: string) {
    const revoked = KEY_ID.test(keyId) ? await this.keys.revoke(keyId) : null;
    if (!revoked) throw new ProblemError('not-found', 'There is no API key of this id.');
    return shown(revoked);
  }
}

function shown({ id, ...key }: ApiKeySummary) {
  return { keyId: id, ...key };
}
