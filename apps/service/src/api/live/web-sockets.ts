import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type WebSocket, WebSocketServer } from 'ws';
import { LiveUpdates } from '@app/engine/live/live-updates.js';
import {
  AmbiguousCredentialsError,
  InsufficientScopeError,
  UnauthenticatedError,
} from '@app/platform/auth/auth-errors.js';
import { clientAddressBy } from '@app/platform/auth/client-address.js';
import { Credentials } from '@app/platform/auth/credentials.js';
import type { Principal } from '@app/platform/auth/principal.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { RateLimit } from '@app/platform/redis/rate-limit.js';
import { requestIdOf } from '../answer-headers.js';
import { ServiceState } from '../health/service-state.js';
import { refuseUpgrade } from '../problems/connection-problems.js';
import { pointerTo, ProblemError, validationError } from '../problems/problem.js';
import { toProblem } from '../problems/problem.filter.js';
import { LiveConnections } from './live-connections.js';
import { SocketQuery } from './live.schemas.js';
import { closeSocket, WebSocketConnection } from './web-socket-connection.js';

/** The largest message of a client, in bytes. */
const LONGEST_MESSAGE = 16 * 1024;
/** Names a ticket among the protocols that a client offers; browsers can say nothing else with a WebSocket. */
const TICKET = 'longhaul.ticket.';
/** What a client offers beside its ticket, to be answered with. */
const PROTOCOL = 'longhaul';
/** Parameters that may hold a secret, which must not stand in an address: addresses are logged on their way. */
const SECRETS = /key|token|ticket|auth|secret|password/i;

/** Tells what happens to the jobs of the caller by WebSockets on `/`. */
@Injectable()
export class WebSockets implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: LONGEST_MESSAGE,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : ([...offered][0] ?? false)),
  });
  private readonly open = new Set<WebSocketConnection>();
  private readonly addressOf: (request: IncomingMessage) => string;
  private beats: NodeJS.Timeout | undefined;

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly credentials: Credentials,
    private readonly limit: RateLimit,
    private readonly live: LiveUpdates,
    private readonly connections: LiveConnections,
    private readonly state: ServiceState,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.addressOf = clientAddressBy(config.TRUST_PROXY);
  }

  /** Takes the upgrades of the server. */
  onApplicationBootstrap(): void {
    const server: Server = this.host.httpAdapter.getHttpServer();
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => {});
      void this.upgrade(request, socket, head);
    });
    this.beats = setInterval(() => this.open.forEach((one) => void one.beat()), this.config.LIVE_HEARTBEAT);
    this.beats.unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.beats);
  }

  private async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const requestId = requestIdOf(request);
    const line: Record<string, unknown> = { requestId, ip: this.addressOf(request) };
    try {
      const query = this.check(request);
      const principal = await this.identify(request);
      if (!principal) {
        // Of a refused upgrade a page learns nothing; of a close it learns the code.
        return this.server.handleUpgrade(request, socket, head, (opened) => {
          // Whoever is refused may still send frames that are none.
          opened.on('error', () => {});
          closeSocket(opened, 'ticket');
        });
      }
      Object.assign(line, { ownerId: principal.ownerId, actor: principal.actor });
      await this.admit(principal);
      const givePlaceBack = this.connections.takePlace(principal);
      socket.once('close', givePlaceBack);
      if (socket.destroyed) return givePlaceBack();
      this.server.handleUpgrade(request, socket, head, (opened) => {
        this.connect(opened, principal, query, line);
      });
    } catch (error) {
      const problem = toProblem(error);
      const level = problem.status >= 500 ? 'error' : 'info';
      this.logger[level](
        { ...line, status: problem.status, reason: problem.title },
        'a WebSocket was refused',
      );
      if (problem.status === 401 || problem.status === 403)
        this.logger.info({ audit: 'access.denied', ...line, status: problem.status }, 'audit');
      const { retryAfter } = error instanceof ProblemError ? error : { retryAfter: undefined };
      refuseUpgrade(socket, problem, requestId, retryAfter);
    }
  }

  /** @throws what the upgrade is refused with, whoever asks */
  private check(request: IncomingMessage) {
    if (this.state.stopping || this.connections.closing)
      throw new ProblemError('service-unavailable', 'This process is stopping. Ask again.', {}, 1);
    const [path = ''] = (request.url ?? '').split('?', 1);
    // Looked at as it came: `//` names a host, and the URL of a whole address is not ours.
    if (request.method !== 'GET' || path !== '/')
      throw new ProblemError('not-found', 'There is no WebSocket but at /.');
    const url = new URL(request.url ?? '', 'http://localhost');
    const names = [...url.searchParams.keys()];
    if (names.some((name) => SECRETS.test(name))) throw new UnauthenticatedError();
    const { origin } = request.headers;
    if (origin !== undefined && !(this.config.CORS_ORIGINS ?? []).includes(origin))
      throw new ProblemError('origin-not-allowed', 'Pages of this origin may not connect.');
    const twice = names.find((name, at) => names.indexOf(name) !== at);
    if (twice !== undefined)
      throw validationError([{ pointer: pointerTo([twice]), message: 'It is there twice.' }]);
    const parsed = SocketQuery.safeParse(Object.fromEntries(url.searchParams));
    if (parsed.success) return parsed.data;
    throw validationError(
      parsed.error.issues.map(({ path, message }) => ({
        pointer: pointerTo(path as (string | number)[]),
        message,
      })),
    );
  }

  /** Who connects; undefined when it is by a ticket that does not hold. @throws when it is by nothing that does */
  private async identify(request: IncomingMessage): Promise<Principal | undefined> {
    const of = { headers: request.headers, ip: this.addressOf(request), raw: request };
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    const tickets = offered.filter((name) => name.startsWith(TICKET));
    if (tickets.length === 0) return this.credentials.principalOf(of);
    if (tickets.length > 1) throw new AmbiguousCredentialsError();
    try {
      return await this.credentials.principalOfTicket(of, tickets[0]?.slice(TICKET.length));
    } catch (error) {
      if (error instanceof UnauthenticatedError) return undefined;
      throw error;
    }
  }

  private async admit({ scopes, ownerId }: Principal): Promise<void> {
    const scope = 'jobs:read';
    if (!scopes.includes(scope) && !scopes.includes('admin')) throw new InsufficientScopeError(scope);
    const waitMs = await this.limit.spend(ownerId);
    if (waitMs > 0)
      throw new ProblemError('rate-limited', 'These are more requests than are allowed.', {}, waitMs / 1000);
  }

  private connect(
    socket: WebSocket,
    principal: Principal,
    { after, jobId = [], type = [] }: ReturnType<WebSockets['check']>,
    line: Record<string, unknown>,
  ): void {
    const connection = new WebSocketConnection(socket, {
      principal,
      most: this.config.LIVE_BUFFER,
      subscribe: (tell, fail) =>
        this.live.subscribe(principal.ownerId, { jobIds: jobId, types: type }, tell, fail),
      closed: (code) => {
        this.open.delete(connection);
        this.connections.delete(connection);
        this.logger.info({ ...line, code }, 'a WebSocket was closed');
      },
    });
    this.open.add(connection);
    this.connections.add(connection);
    this.logger.info(line, 'a WebSocket was opened');
    connection.open(after, jobId);
  }
}
