-- Rules that make jobs, and what became of each of their instants.
CREATE TABLE "schedules" (
    "id" UUID NOT NULL,
    "owner_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "created_by" TEXT NOT NULL,
    "cron" TEXT,
    "every_ms" BIGINT,
    "timezone" TEXT NOT NULL,
    "anchor" TIMESTAMPTZ(3) NOT NULL,
    "start_at" TIMESTAMPTZ(3),
    "end_at" TIMESTAMPTZ(3),
    "max_runs" INTEGER,
    "runs" INTEGER NOT NULL DEFAULT 0,
    "jitter_ms" BIGINT NOT NULL DEFAULT 0,
    "type" TEXT NOT NULL,
    "template" JSONB NOT NULL,
    "max_runtime_ms" BIGINT,
    "checkin_margin_ms" BIGINT,
    "misfire" TEXT NOT NULL,
    "max_catch_up" INTEGER NOT NULL,
    "catch_up_window_ms" BIGINT NOT NULL,
    "overlap" TEXT NOT NULL,
    "declared" TEXT,
    "retired_at" TIMESTAMPTZ(3),
    "paused_at" TIMESTAMPTZ(3),
    "paused_by" TEXT,
    "pause_reason" TEXT,
    "paused_until" TIMESTAMPTZ(3),
    "next_slot" TIMESTAMPTZ(3),
    "next_at" TIMESTAMPTZ(3),
    "queued_slot" TIMESTAMPTZ(3),
    "version" INTEGER NOT NULL DEFAULT 1,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "schedules_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "schedules_timing" CHECK (("cron" IS NULL) <> ("every_ms" IS NULL)),
    CONSTRAINT "schedules_misfire" CHECK ("misfire" IN ('skip', 'latest', 'all')),
    CONSTRAINT "schedules_overlap" CHECK ("overlap" IN ('allow', 'skip', 'queue-one', 'cancel-other'))
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX "schedules_by_name" ON "schedules"("owner_id", "name");
CREATE INDEX "schedules_by_owner" ON "schedules"("owner_id", "created_at" DESC, "id" DESC);
-- A look at what is due of a type reads what is due, however many there are.
CREATE INDEX "schedules_due" ON "schedules"("type", "next_at") WHERE "next_at" IS NOT NULL;
CREATE INDEX "schedules_queued" ON "schedules"("id") WHERE "queued_slot" IS NOT NULL;

-- One row for every slot, or for a stretch of slots with one outcome. Its key is what lets a slot fire once.
CREATE TABLE "schedule_slots" (
    "schedule_id" UUID NOT NULL,
    "slot" TIMESTAMPTZ(3) NOT NULL,
    "until" TIMESTAMPTZ(3),
    "count" INTEGER NOT NULL DEFAULT 1,
    "outcome" TEXT NOT NULL,
    "triggered_by" TEXT,
    "job_id" UUID,
    "blocked_by" UUID,
    "note" TEXT,
    "decided_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "check_at" TIMESTAMPTZ(3),

    CONSTRAINT "schedule_slots_pkey" PRIMARY KEY ("schedule_id", "slot"),
    CONSTRAINT "schedule_slots_outcome" CHECK ("outcome" IN
      ('fired', 'late', 'skipped-overlap', 'skipped-paused', 'missed', 'merged', 'dst-gap'))
);

-- For lists: of some outcomes, and of the stretch that reaches into a time.
CREATE INDEX "schedule_slots_by_outcome" ON "schedule_slots"("schedule_id", "outcome", "slot");
CREATE INDEX "schedule_slots_stretches" ON "schedule_slots"("schedule_id", "slot") WHERE "until" IS NOT NULL;
-- For retention.
CREATE INDEX "schedule_slots_decided_at" ON "schedule_slots"("decided_at");
CREATE INDEX "schedule_slots_check_at" ON "schedule_slots"("check_at") WHERE "check_at" IS NOT NULL;

-- Which slot a job is of. Written once; the index has open jobs alone, so that their updates stay heap-only.
ALTER TABLE "jobs" ADD COLUMN "schedule_id" UUID, ADD COLUMN "slot" TIMESTAMPTZ(3);
CREATE INDEX "jobs_open_by_schedule" ON "jobs"("schedule_id", "id") WHERE "schedule_id" IS NOT NULL AND "finished_at" IS NULL;
