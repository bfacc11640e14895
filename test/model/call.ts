import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import type { Model } from './model.js';

export const OWNER = 'alice';
/** Of Redis; not empty, so that a new task is not due at once. */
export const LIFE = 'redis-1';

/** One call of the engine's store, with what the model says of it. */
export interface Call {
  /** What a counterexample prints. */
  label: string;
  /** Moves the model and tells the answer that is to come. */
  expect(model: Model): unknown;
  /** The real thing. */
  perform(client: PrismaClient): Promise<unknown>;
  /** Whether the answer says only that a lock was in the way, and to come again. */
  again?(answer: unknown): boolean;
}

/** Whether some part of an answer is `busy`. */
export const saysBusy = (answer: unknown) => JSON.stringify(answer).includes('"busy"');

/** Whatever waits for its time waits no more; what waits for its turn still does. */
export async function makeAllDue(sql: Sql): Promise<void> {
  await sql.$executeRaw`UPDATE dispatch SET look_again_at = clock_timestamp() - interval '1 ms'
    WHERE gate IS DISTINCT FROM 'held'`;
}
