import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { SCHEDULE_COLUMNS, type ScheduleRow } from './schedule-rows.js';

/** Which schedules are looked at. */
export interface TickScope {
  limit: number;
  /** Only these. */
  only?: string[];
  /** Not these. */
  except?: string[];
}

/** So many times the limit are found, for others may hold the first of them. */
const FOUND_PER_LOCKED = 4;

/**
 * Locks schedules that are due and passes by those that others hold: first those whose waiting slot has become free,
 * for they are the oldest, then the others by their times.
 */
export async function lockDue(sql: Sql, types: string[], scope: TickScope): Promise<ScheduleRow[]> {
  const freed = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s WHERE ${isFreed(types, scope)}
    LIMIT ${scope.limit} FOR NO KEY UPDATE SKIP LOCKED`;
  const due = await sql.$queryRaw<ScheduleRow[]>(dueStatement(types, scope));
  const ids = new Set(freed.map(({ scheduleId }) => scheduleId));
  return [...freed, ...due.filter((row) => !ids.has(row.scheduleId))];
}

/** Locks schedules whose time has come. */
export const dueStatement = (types: string[], scope: TickScope) => Prisma.sql`
  SELECT ${SCHEDULE_COLUMNS} FROM schedules s
  WHERE s.id = ANY(ARRAY(${dueIds(types, { ...scope, limit: scope.limit * FOUND_PER_LOCKED })}))
    AND s.next_at <= statement_timestamp() AND s.next_at IS NOT NULL
  ORDER BY s.next_at LIMIT ${scope.limit} FOR NO KEY UPDATE SKIP LOCKED`;

/** The ids of schedules that have something to do here, locked by others or not. */
export async function findDue(sql: Sql, types: string[], scope: TickScope): Promise<string[]> {
  const rows = await sql.$queryRaw<{ id: string }[]>`
    (SELECT s.id::text AS id FROM schedules s WHERE ${isFreed(types, scope)} LIMIT ${scope.limit})
    UNION
    SELECT id::text FROM (${dueIds(types, scope)}) d`;
  return rows.map(({ id }) => id);
}

/** In how many milliseconds the next schedule is due here, `most` at most and less than 0 when one was, and whether any slot waits for a job to end. */
export async function nextSlotDue(
  sql: Sql,
  types: string[],
  except: string[],
  most: number,
): Promise<{ ms: number; slotsWait: boolean }> {
  const [next] = await sql.$queryRaw<{ ms: number | null; slotsWait: boolean }[]>(
    nextStatement(types, except),
  );
  return {
    // A timer knows no fractions, and the one before the slot would be too early.
    ms: Math.ceil(Math.min(most, next?.ms ?? most)),
    slotsWait: next?.slotsWait ?? false,
  };
}

export const nextStatement = (types: string[], except: string[]) => Prisma.sql`
  SELECT EXISTS (
      SELECT FROM schedules s WHERE s.queued_slot IS NOT NULL AND s.type = ANY(${types}::text[]) AND ${inScope({ except })}
    ) AS "slotsWait", (
      SELECT (extract(epoch FROM min(d.next_at) - clock_timestamp()) * 1000)::float8
      FROM unnest(${types}::text[]) AS t(type) CROSS JOIN LATERAL (
        SELECT s.next_at FROM schedules s
        WHERE s.type = t.type AND s.next_at IS NOT NULL AND ${inScope({ except })}
        ORDER BY s.next_at LIMIT 1) d) AS ms`;

/** Of each type the first ones by its part of the index: those of types that are unknown here are not looked at. */
const dueIds = (types: string[], scope: TickScope) => Prisma.sql`
  SELECT d.id FROM unnest(${types}::text[]) AS t(type) CROSS JOIN LATERAL (
    SELECT s.id, s.next_at FROM schedules s
    WHERE s.type = t.type AND s.next_at <= statement_timestamp() AND s.next_at IS NOT NULL AND ${inScope(scope)}
    ORDER BY s.next_at LIMIT ${scope.limit}) d
  ORDER BY d.next_at LIMIT ${scope.limit}`;

const isFreed = (types: string[], scope: TickScope) => Prisma.sql`
  s.queued_slot IS NOT NULL AND s.type = ANY(${types}::text[]) AND ${inScope(scope)}
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.schedule_id = s.id AND j.schedule_id IS NOT NULL AND j.finished_at IS NULL)`;

const inScope = ({ only, except = [] }: Pick<TickScope, 'only' | 'except'>) =>
  only ? Prisma.sql`s.id = ANY(${only}::uuid[])` : Prisma.sql`s.id <> ALL(${except}::uuid[])`;
