import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { validate as isUuid } from 'uuid';
import { Webhooks } from '@app/engine/notifications/webhooks.js';
import { JobTypeRegistry } from '@app/engine/registry/job-type-registry.js';
import { CurrentPrincipal, type Principal, RequiresScope } from '@app/platform/auth/principal.js';
import { OutboundRefusedError } from '@app/platform/outbound/outbound-errors.js';
import { Cursors } from '../jobs/cursors.js';
import { OF_A_BODY, OF_EVERY_ROUTE, Refuses } from '../jobs/jobs.answers.js';
import { LIMIT_PARAMETER, PageQuery } from '../jobs/jobs.schemas.js';
import { ProblemError, validationError } from '../problems/problem.js';
import { Audited } from '../request-log.js';
import { TakesNo } from '../refuses-extras.js';
import {
  DeliveriesAnswer,
  DeliveryAnswer,
  NewWebhookAnswer,
  WebhookAnswer,
  WebhookBody,
  WebhookChange,
  WebhooksAnswer,
} from './webhooks.schemas.js';

/** The caller's own webhooks: whom to call when their jobs end. */
@ApiTags('webhooks')
@ApiBearerAuth()
@ApiSecurity('X-API-Key')
@Refuses(...OF_EVERY_ROUTE)
@Controller('webhooks')
export class WebhooksController {
  constructor(
    private readonly webhooks: Webhooks,
    private readonly types: JobTypeRegistry,
    private readonly cursors: Cursors,
  ) {}

  @Post()
  @Audited('webhook.create')
  @TakesNo('query')
  @RequiresScope('jobs:write')
  @ApiOperation({
    summary: 'Make a webhook',
    description: 'The answer has the secret that its calls are signed with, which is shown this once.',
  })
  @ApiResponse({ status: 201, description: 'Done', standardSchema: NewWebhookAnswer })
  @Refuses('validation-error', 'quota-exceeded', ...OF_A_BODY)
  async create(
    @Body({ schema: WebhookBody }) body: WebhookBody,
    @CurrentPrincipal() { ownerId }: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    this.checkTypes(body.types);
    const made = await this.webhooks.add(ownerId, body).catch(refuseUrl);
    void reply.header('Location', `/webhooks/${made.webhookId}`).header('Cache-Control', 'no-store');
    return made;
  }

  @Get()
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List the own webhooks, without their secrets' })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: WebhooksAnswer })
  @Refuses('validation-error')
  async list(@CurrentPrincipal() { ownerId }: Principal) {
    return { webhooks: await this.webhooks.list(ownerId) };
  }

  @Get(':webhookId')
  @TakesNo('query')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'Show a webhook' })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: WebhookAnswer })
  @Refuses('not-found', 'validation-error')
  async find(@Param('webhookId') id: string, @CurrentPrincipal() { ownerId }: Principal) {
    return known(await this.webhooks.find(ownerId, idOf(id)));
  }

  @Patch(':webhookId')
  @Audited('webhook.change')
  @TakesNo('query')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Change a webhook, or have it called no more, or again' })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: WebhookAnswer })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async change(
    @Param('webhookId') id: string,
    @Body({ schema: WebhookChange }) body: WebhookChange,
    @CurrentPrincipal() { ownerId }: Principal,
  ) {
    this.checkTypes(body.types ?? []);
    return known(await this.webhooks.change(ownerId, idOf(id), body).catch(refuseUrl));
  }

  @Delete(':webhookId')
  @HttpCode(204)
  @Audited('webhook.delete')
  @TakesNo('query', 'body')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Delete a webhook, and what still waits for it' })
  @ApiResponse({ status: 204, description: 'Done' })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async remove(@Param('webhookId') id: string, @CurrentPrincipal() { ownerId }: Principal): Promise<void> {
    known((await this.webhooks.remove(ownerId, idOf(id))) || undefined);
  }

  @Post(':webhookId/rotate')
  @HttpCode(200)
  @Audited('webhook.rotate')
  @TakesNo('query', 'body')
  @RequiresScope('jobs:write')
  @ApiOperation({
    summary: 'Replace the secret of a webhook',
    description: 'For 24 hours its calls are signed with the one before as well.',
  })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: NewWebhookAnswer })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async rotate(
    @Param('webhookId') id: string,
    @CurrentPrincipal() { ownerId }: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    void reply.header('Cache-Control', 'no-store');
    return known(await this.webhooks.rotate(ownerId, idOf(id)));
  }

  @Post(':webhookId/test')
  @TakesNo('query', 'body')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Call a webhook for a trial, with the event webhook.test' })
  @ApiResponse({ status: 201, description: 'Done', standardSchema: DeliveryAnswer })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async test(@Param('webhookId') id: string, @CurrentPrincipal() { ownerId }: Principal) {
    return known(await this.webhooks.test(ownerId, idOf(id)));
  }

  @Get(':webhookId/deliveries')
  @RequiresScope('jobs:read')
  @ApiOperation({ summary: 'List what a webhook was told, newest first, and how that went' })
  @ApiQuery(LIMIT_PARAMETER)
  @ApiResponse({ status: 200, description: 'Done', standardSchema: DeliveriesAnswer })
  @Refuses('not-found', 'validation-error')
  async deliveries(
    @Param('webhookId') given: string,
    @Query({ schema: PageQuery }) { limit, cursor }: PageQuery,
    @CurrentPrincipal() { ownerId }: Principal,
  ) {
    const id = idOf(given);
    known(await this.webhooks.find(ownerId, id));
    const list = ['deliveries', ownerId, id];
    const after = cursor === undefined ? {} : { after: await this.cursors.readDelivery(list, cursor) };
    // One more than asked for tells whether there is a next page.
    const found = known(await this.webhooks.deliveries(ownerId, id, { limit: limit + 1, ...after }));
    const deliveries = found.slice(0, limit);
    const last = found.length > limit ? deliveries.at(-1) : undefined;
    return { deliveries, nextCursor: last ? await this.cursors.afterDelivery(list, last) : null };
  }

  @Post(':webhookId/deliveries/:deliveryId/redeliver')
  @HttpCode(200)
  @Audited('webhook.redeliver')
  @TakesNo('query', 'body')
  @RequiresScope('jobs:write')
  @ApiOperation({ summary: 'Have a delivery tried anew, under the same webhook-id' })
  @ApiResponse({ status: 200, description: 'Done', standardSchema: DeliveryAnswer })
  @Refuses('not-found', 'validation-error', ...OF_A_BODY)
  async redeliver(
    @Param('webhookId') id: string,
    @Param('deliveryId') deliveryId: string,
    @CurrentPrincipal() { ownerId }: Principal,
  ) {
    return known(await this.webhooks.redeliver(ownerId, idOf(id), idOf(deliveryId)));
  }

  private checkTypes(types: string[]): void {
    const unknown = types.findIndex((type) => !this.types.find(type));
    if (unknown < 0) return;
    const message = `There is no job type of this name. Known: ${this.types.names.join(', ')}.`;
    throw validationError([{ pointer: `/types/${unknown}`, message }]);
  }
}

/** The one answer for what is not there and for what is somebody else's. */
function notFound(): ProblemError {
  return new ProblemError('not-found', 'There is no webhook, or no delivery of it, of this id.');
}

function idOf(text: string): string {
  if (isUuid(text)) return text.toLowerCase();
  throw notFound();
}

function known<T>(found: T | undefined): T {
  if (found === undefined) throw notFound();
  return found;
}

function refuseUrl(error: unknown): never {
  if (!(error instanceof OutboundRefusedError)) throw error;
  throw validationError([{ pointer: '/url', message: error.message }]);
}
