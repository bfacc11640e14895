import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { v7 } from 'uuid';

/** An id of a request that may stand in headers, bodies and logs as it came. */
const SANE_ID = /^[\w.:/+=@-]{1,128}$/;

/** What every answer says to browsers: it is data, for nobody else to keep, frame or guess the type of. */
const SECURITY = {
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000',
};

/** The page of the API has scripts and styles of its own. */
const OF_THE_PAGE =
  "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/** The id of a request: that of its `X-Request-Id`, if that is sane, else a new one. */
export function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && SANE_ID.test(given) ? given : v7();
}

/** The headers of every answer to a request. */
export function headersOf(requestId: string): Record<string, string> {
  return { ...SECURITY, 'X-Request-Id': requestId };
}

/**
 * Gives every answer of a server its headers, refusals included. A body that is too large is read on and dropped, as long as
 * a request may take: Fastify would close under the client that sends it, which resets the connection and loses the answer.
 */
export function addHeaders(server: FastifyInstance): void {
  server.addHook('onSend', async (_request, reply) => {
    if (reply.statusCode === 413) void reply.removeHeader('Connection');
  });
  server.addHook('onRequest', async (request, reply: FastifyReply) => {
    void reply.headers(headersOf(request.id));
    if (/^\/docs(\/|$)/.test(request.url)) void reply.header('Content-Security-Policy', OF_THE_PAGE);
  });
}
