import type { Json, Transaction } from '@app/core';
import { PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { isDisconnect } from '@app/platform/prisma/sql-errors.js';
import { limitTransaction } from './in-transaction.js';

/** Limits of a handler's transaction, in milliseconds. */
const LIMITS = { maxWait: 5000, timeout: 60_000 };

/** The attempt no longer holds its task: nothing of the effect was committed. */
export class StaleFenceError extends Error {
  override readonly name = 'StaleFenceError';
  constructor() {
    super('The attempt no longer holds its task.');
  }
}

/**
 * Runs an effect in a transaction and records it with its result under a key of the task, so that it happens once
 * however often the task is run: a later attempt gets the recorded result. The fence is looked at first without a
 * lock, for the effect may take long, and checked and locked as the last statement before the commit.
 * @throws {StaleFenceError} when the attempt has lost its task; {EffectError} when the effect throws.
 */
export async function commitEffect(
  client: PrismaClient,
  lease: { taskId: string; fence: number; generation: number },
  key: string,
  effect: (tx: Transaction) => Promise<Json>,
): Promise<Json> {
  try {
    return await commitOnce(client, lease, key, effect);
  } catch (error) {
    if (!(error instanceof KeyTakenError)) throw error;
    // The other's result is there now.
    return commitOnce(client, lease, key, effect);
  }
}

/** What the effect itself has thrown, as its cause: however it looks, it is none of the database's. */
export class EffectError extends Error {
  constructor(cause: unknown) {
    super('The effect has failed.', { cause });
  }
}

/** The handler runs two effects of one key at once, and the other was first. */
class KeyTakenError extends Error {}

function commitOnce(
  client: PrismaClient,
  lease: { taskId: string; fence: number; generation: number },
  key: string,
  effect: (tx: Transaction) => Promise<Json>,
): Promise<Json> {
  return client.$transaction(async (tx) => {
    await limitTransaction(tx, LIMITS.timeout);
    const [held] = await tx.$queryRaw<unknown[]>`
      SELECT 1 FROM tasks WHERE id = ${lease.taskId}::uuid AND fence = ${lease.fence} AND status = 'active'`;
    if (!held) throw new StaleFenceError();
    const [done] = await tx.$queryRaw<{ result: Json }[]>`
      SELECT result FROM task_commits
      WHERE task_id = ${lease.taskId}::uuid AND generation = ${lease.generation} AND key = ${key}`;
    if (done) return done.result;
    const connection = { lost: false };
    const result = await effect(transactionOf(tx, connection)).catch((error: unknown) => {
      throw connection.lost ? error : new EffectError(error);
    });
    const first = await tx.$executeRaw`
      INSERT INTO task_commits (task_id, generation, key, result)
      VALUES (${lease.taskId}::uuid, ${lease.generation}, ${key}, ${JSON.stringify(result)}::jsonb)
      ON CONFLICT DO NOTHING`;
    if (first === 0) throw new KeyTakenError();
    const [still] = await tx.$queryRaw<unknown[]>`
      SELECT 1 FROM tasks WHERE id = ${lease.taskId}::uuid AND fence = ${lease.fence} AND status = 'active' FOR SHARE`;
    if (!still) throw new StaleFenceError();
    return result;
  }, LIMITS);
}

/** What an effect may do. Notes when it was not the effect that failed but its connection. */
function transactionOf(
  tx: Sql & Pick<PrismaClient, '$queryRawUnsafe' | '$executeRawUnsafe'>,
  connection: { lost: boolean },
): Transaction {
  const watched = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      connection.lost ||= isDisconnect(error);
      throw error;
    });
  return {
    query: <T>(sql: string, ...values: unknown[]) => watched(tx.$queryRawUnsafe<T[]>(sql, ...values)),
    execute: (sql, ...values) => watched(tx.$executeRawUnsafe(sql, ...values)),
  };
}
