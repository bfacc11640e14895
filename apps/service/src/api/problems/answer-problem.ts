import type { FastifyReply } from 'fastify';
import type { Problem } from './problem.js';

/** The body of a problem, with the request that it is of: whoever asks about it names that. */
export function bodyOf(problem: Problem, requestId: string): string {
  return JSON.stringify({ ...problem, instance: `urn:longhaul:request:${requestId}` });
}

/** Answers a request with a problem. */
export function answerProblem(reply: FastifyReply, problem: Problem, requestId: string): FastifyReply {
  return reply.status(problem.status).type('application/problem+json').send(bodyOf(problem, requestId));
}
