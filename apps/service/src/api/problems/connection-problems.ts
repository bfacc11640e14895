import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { headersOf, requestIdOf } from '../answer-headers.js';
import { answerProblem, bodyOf } from './answer-problem.js';
import { type Problem, problemOf } from './problem.js';

/** Answers for an address that the router cannot read: Nest never sees such a request. */
export function refuseAddress(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOf('malformed-request', 'The address of the request is not valid.');
  void answerProblem(reply.headers(headersOf(request.id)), problem, request.id);
}

/** How long a client may take to read why it was refused, and to stop sending, in milliseconds. */
const LINGER_MS = 1000;

/**
 * Answers what is no HTTP request, or one whose head is too long or too slow, and closes the connection. What still
 * arrives is read and dropped for a moment: a connection that is closed before it is reset, and the answer with it.
 */
export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || socket.writableEnded) return;
  if (!socket.writable) return void socket.destroy(error);
  hangUp(socket, answerOf(problemOfConnection(error.code), requestIdOf({ headers: {} })));
}

/** Answers a request for an upgrade that is not taken. */
export function refuseUpgrade(
  socket: Duplex,
  problem: Problem,
  requestId: string,
  retryAfter = problem.status === 503 ? 1 : undefined,
): void {
  if (socket.destroyed || socket.writableEnded) return;
  const more = {
    ...(problem.status === 401 ? { 'WWW-Authenticate': 'Bearer realm="longhaul"' } : {}),
    ...(retryAfter === undefined ? {} : { 'Retry-After': String(Math.ceil(retryAfter)) }),
  };
  hangUp(socket, answerOf(problem, requestId, more));
}

function hangUp(socket: Duplex, answer: string): void {
  socket.end(answer);
  const late = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(late));
  socket.resume();
}

function problemOfConnection(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return problemOf('headers-too-large', 'The address and headers of the request are too long.');
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return problemOf('request-timeout', 'The request did not arrive in time.');
  }
  return problemOf('malformed-request', 'This is not a valid HTTP request.');
}

function answerOf(problem: Problem, requestId: string, more: Record<string, string> = {}): string {
  const body = bodyOf(problem, requestId);
  return [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    ...Object.entries({ ...headersOf(requestId), ...more }).map(([name, value]) => `${name}: ${value}`),
    '',
    body,
  ].join('\r\n');
}
