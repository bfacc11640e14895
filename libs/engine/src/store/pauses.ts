import { cleanText } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** A type or a tag of which nothing is begun. What runs goes on. */
export interface Pause {
  kind: 'type' | 'tag';
  name: string;
  actor: string;
  reason: string | null;
  since: Date;
  /** When it ends by itself. */
  until: Date | null;
}

/** Pauses a type or a tag, or changes why and for how long. From the commit on nothing of it is begun. */
export async function pauseWork(sql: Sql, pause: Omit<Pause, 'since'>): Promise<Pause> {
  const reason = pause.reason === null ? null : cleanText(pause.reason);
  const [row] = await sql.$queryRaw<Pause[]>`
    INSERT INTO pauses AS p (kind, name, actor, reason, until)
    VALUES (${pause.kind}, ${pause.name}, ${pause.actor}, ${reason}, ${pause.until}::timestamptz)
    ON CONFLICT (kind, name) DO UPDATE SET actor = EXCLUDED.actor, reason = EXCLUDED.reason, until = EXCLUDED.until,
      since = CASE WHEN p.until <= clock_timestamp() THEN EXCLUDED.since ELSE p.since END
    RETURNING kind, name, actor, reason, since, until`;
  return row as Pause;
}

/** Ends a pause; what waits is admitted in its turn. False when there was none. */
export async function resumeWork(sql: Sql, kind: Pause['kind'], name: string): Promise<boolean> {
  const ended = await sql.$queryRaw<{ open: boolean }[]>`
    DELETE FROM pauses WHERE kind = ${kind} AND name = ${name}
    RETURNING until IS NULL OR until > clock_timestamp() AS open`;
  return ended[0]?.open ?? false;
}

/** The pauses that hold now, by kind and name. */
export async function listPauses(sql: Sql): Promise<Pause[]> {
  return sql.$queryRaw<Pause[]>`
    SELECT kind, name, actor, reason, since, until FROM pauses
    WHERE until IS NULL OR until > clock_timestamp() ORDER BY kind, name`;
}

/** Forgets pauses that have ended by themselves. */
export async function deleteEndedPauses(sql: Sql): Promise<void> {
  await sql.$executeRaw`DELETE FROM pauses WHERE until <= clock_timestamp()`;
}
