import type { FastifyInstance } from 'fastify';
import { answerProblem } from './problems/answer-problem.js';
import { problemOf } from './problems/problem.js';

/** After how many milliseconds without an answer it is asked whether the database answers at all, and how often again. */
const PATIENCE_MS = 800;

/** Routes that tell themselves how the database is, or have nothing to do with it. */
const APART = /^\/(health|metrics|docs|openapi\.json)\b/;

/**
 * Answers with 503 within two seconds where the database is silent: a statement may wait for it much longer. What was asked may
 * still be done, as always when an answer is lost.
 * @param answers whether the database answers, within a second
 */
export function answerInTime(server: FastifyInstance, answers: () => Promise<boolean>): void {
  server.addHook('onRequest', async (request, reply) => {
    if (APART.test(request.url)) return;
    let timer: NodeJS.Timeout | undefined;
    const look = async () => {
      const alive = await answers();
      // What is being told event by event was answered when its head was.
      if (reply.sent || reply.raw.headersSent || reply.raw.destroyed) return;
      if (alive) timer = setTimeout(() => void look(), PATIENCE_MS);
      else {
        const problem = problemOf(
          'service-unavailable',
          'The database does not answer. Whether this was done is not known; try again soon.',
        );
        void answerProblem(reply.header('Retry-After', '1'), problem, request.id);
      }
    };
    timer = setTimeout(() => void look(), PATIENCE_MS);
    reply.raw.once('close', () => clearTimeout(timer));
  });
}
