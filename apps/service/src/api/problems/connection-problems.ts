import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Problem, problemOf } from './problem.js';

/** Answers for an address that the router cannot read: Nest never sees such a request. */
export function refuseAddress(_error: Error, _request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOf('malformed-request', 'The address of the request is not valid.');
  void reply.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

/** Answers what is no HTTP request, or one whose head is too long or too slow, and closes the connection. */
export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) socket.write(answerOf(problemOfConnection(error.code)));
  socket.destroy(error);
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

function answerOf(problem: Problem): string {
  const body = JSON.stringify(problem);
  return [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
