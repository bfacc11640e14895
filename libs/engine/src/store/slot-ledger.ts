import type { SlotOutcome } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { givenRows } from './given-rows.js';

/** A row of the ledger, as it is written. */
export interface NewSlotRecord {
  scheduleId: string;
  slot: Date;
  until?: Date | null;
  count?: number;
  outcome: SlotOutcome;
  triggeredBy?: string;
  jobId?: string;
  blockedBy?: string | undefined;
  note?: string | undefined;
  /** When its job must have begun. */
  checkAt?: Date | undefined;
}

/**
 * Writes rows of the ledger and answers those that were new, as `<schedule> <milliseconds of the slot>`: the only
 * leave to make the job of a slot.
 */
export async function writeSlots(
  sql: Pick<Sql, '$queryRaw'>,
  records: NewSlotRecord[],
): Promise<Set<string>> {
  if (records.length === 0) return new Set();
  const written = await sql.$queryRaw<{ id: string; slot: Date }[]>`
    INSERT INTO schedule_slots (schedule_id, slot, until, count, outcome, triggered_by, job_id, blocked_by, note, check_at, decided_at)
    SELECT "scheduleId", slot, until, COALESCE(count, 1), outcome, "triggeredBy", "jobId", "blockedBy", note, "checkAt", clock_timestamp()
    FROM jsonb_to_recordset(${JSON.stringify(records)}::jsonb)
      AS r("scheduleId" uuid, slot timestamptz, until timestamptz, count int, outcome text, "triggeredBy" text, "jobId" uuid,
        "blockedBy" uuid, note text, "checkAt" timestamptz)
    ORDER BY "scheduleId", slot
    ON CONFLICT DO NOTHING
    RETURNING schedule_id::text AS id, slot`;
  return new Set(written.map(({ id, slot }) => slotKey(id, slot)));
}

/** How a slot is named in the answer of writeSlots. */
export function slotKey(scheduleId: string, slot: Date): string {
  return `${scheduleId} ${slot.getTime()}`;
}

const REFUSED = Prisma.sql`"scheduleId" uuid, slot timestamptz, "blockedBy" uuid, note text`;

/** Notes of slots whose jobs were refused that they made none. */
export async function refuseSlots(
  sql: Pick<Sql, '$executeRaw'>,
  refused: { scheduleId: string; slot: Date; blockedBy: string; note: string }[],
): Promise<void> {
  if (refused.length === 0) return;
  // Of a job of somebody else nothing is told.
  await sql.$executeRaw`
    UPDATE schedule_slots x SET outcome = 'skipped-overlap', job_id = NULL, check_at = NULL, note = r.note,
      blocked_by = (SELECT j.id FROM jobs j WHERE j.id = r."blockedBy" AND j.owner_id = s.owner_id)
    FROM ${givenRows(refused, REFUSED)} r JOIN schedules s ON s.id = r."scheduleId"
    WHERE x.schedule_id = r."scheduleId" AND x.slot = r.slot`;
}

/** Forgets rows of the ledger that were written longer ago than they are kept. Answers how many. */
export async function deleteOldSlots(sql: Sql, keepMs: number, limit: number): Promise<number> {
  return sql.$executeRaw`
    DELETE FROM schedule_slots WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM schedule_slots
      WHERE decided_at < statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8) LIMIT ${limit}))`;
}
