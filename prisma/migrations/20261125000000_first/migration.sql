-- Jobs: one row each, updated once per batch. No index covers a column that changes while a job is open
-- (finished_at and outcome change once, at the end), so that updates stay heap-only.
CREATE TABLE "jobs" (
    "id" UUID NOT NULL,
    "owner_id" TEXT NOT NULL,
    "submitted_by" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "queue" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "outcome" TEXT,
    "generation" INTEGER NOT NULL DEFAULT 1,
    "version" INTEGER NOT NULL DEFAULT 1,
    "failure_policy" TEXT NOT NULL,
    "max_attempts" SMALLINT NOT NULL,
    "resumable" BOOLEAN NOT NULL,
    "finalize" BOOLEAN NOT NULL,
    "payload" JSONB NOT NULL,
    "catalog" JSONB,
    "planning" BOOLEAN NOT NULL DEFAULT false,
    "tasks_total" INTEGER NOT NULL DEFAULT 0,
    "tasks_completed" INTEGER NOT NULL DEFAULT 0,
    "tasks_failed" INTEGER NOT NULL DEFAULT 0,
    "tasks_canceled" INTEGER NOT NULL DEFAULT 0,
    "progress_sum" BIGINT NOT NULL DEFAULT 0,
    "progress" SMALLINT NOT NULL DEFAULT 0,
    "detail" JSONB,
    "result" JSONB,
    "error" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "jobs_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "jobs_status" CHECK ("status" IN ('scheduled', 'queued', 'active', 'finalizing', 'completed', 'failed', 'canceled')),
    CONSTRAINT "jobs_failure_policy" CHECK ("failure_policy" IN ('fail-fast', 'continue')),
    -- Not even SQL by hand leaves a job half ended.
    CONSTRAINT "jobs_ended" CHECK (("status" IN ('completed', 'failed', 'canceled')) = ("finished_at" IS NOT NULL)),
    CONSTRAINT "jobs_outcome" CHECK (("outcome" IS NOT NULL) = ("finished_at" IS NOT NULL)),
    CONSTRAINT "jobs_progress" CHECK ("progress" BETWEEN 0 AND 100 AND ("progress" = 100) = ("status" = 'completed')),
    CONSTRAINT "jobs_counts" CHECK ("tasks_completed" + "tasks_failed" + "tasks_canceled" <= "tasks_total")
) WITH (fillfactor = 80);

CREATE INDEX "jobs_by_owner" ON "jobs"("owner_id", "created_at" DESC, "id" DESC);
-- How the syncer finds open jobs without a scan.
CREATE INDEX "jobs_open" ON "jobs"("id") WHERE "finished_at" IS NULL;

CREATE TABLE "tasks" (
    "id" UUID NOT NULL,
    "job_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "kind" TEXT NOT NULL DEFAULT 'task',
    "status" TEXT NOT NULL DEFAULT 'queued',
    "generation" INTEGER NOT NULL DEFAULT 1,
    "fence" INTEGER NOT NULL DEFAULT 0,
    "attempt" SMALLINT NOT NULL DEFAULT 0,
    "crashes" SMALLINT NOT NULL DEFAULT 0,
    "progress" SMALLINT NOT NULL DEFAULT 0,
    "nonce" UUID,
    "worker" UUID,
    "lease_until" TIMESTAMPTZ(6),
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "tasks_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "tasks_kind" CHECK ("kind" IN ('task', 'plan')),
    CONSTRAINT "tasks_status" CHECK ("status" IN ('queued', 'active', 'retrying', 'paused', 'completed', 'failed', 'canceled')),
    CONSTRAINT "tasks_ended" CHECK (("status" IN ('completed', 'failed', 'canceled')) = ("finished_at" IS NOT NULL)),
    CONSTRAINT "tasks_lease" CHECK (("status" = 'active') = ("lease_until" IS NOT NULL)),
    CONSTRAINT "tasks_progress" CHECK ("progress" BETWEEN 0 AND 100)
) WITH (fillfactor = 70);

CREATE TABLE "task_inputs" (
    "job_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "task_id" UUID NOT NULL,
    "key" TEXT,
    "payload" JSONB,

    CONSTRAINT "task_inputs_pkey" PRIMARY KEY ("job_id", "position")
);

-- A plan that runs again yields the same keys and adds nothing twice.
CREATE UNIQUE INDEX "task_inputs_key" ON "task_inputs"("job_id", "key") WHERE "key" IS NOT NULL;

CREATE TABLE "task_outputs" (
    "task_id" UUID NOT NULL,
    "result" JSONB,
    "error" JSONB,
    "checkpoint" JSONB,

    CONSTRAINT "task_outputs_pkey" PRIMARY KEY ("task_id")
);

CREATE TABLE "dispatch" (
    "id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "job_id" UUID NOT NULL,
    "queue" TEXT NOT NULL,
    "look_again_at" TIMESTAMPTZ(6) NOT NULL,
    "epoch" INTEGER NOT NULL DEFAULT 1,
    "incarnation" TEXT NOT NULL DEFAULT '',

    CONSTRAINT "dispatch_pkey" PRIMARY KEY ("id", "kind"),
    CONSTRAINT "dispatch_kind" CHECK ("kind" IN ('task', 'plan', 'finalize'))
) WITH (fillfactor = 80);

CREATE INDEX "dispatch_look_again_at" ON "dispatch"("look_again_at");

CREATE TABLE "job_events" (
    "job_id" UUID NOT NULL,
    "seq" BIGSERIAL NOT NULL,
    "generation" INTEGER NOT NULL,
    "version" INTEGER NOT NULL,
    "kind" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "actor" TEXT NOT NULL,
    "reason" TEXT,
    "data" JSONB,

    CONSTRAINT "job_events_pkey" PRIMARY KEY ("job_id", "seq")
);

CREATE TABLE "cancellations" (
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "requested_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "actor" TEXT NOT NULL,
    "reason" TEXT,

    CONSTRAINT "cancellations_pkey" PRIMARY KEY ("job_id", "generation")
);

CREATE TABLE "cancel_stops" (
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "task_id" UUID NOT NULL,
    "worker" UUID,
    "delivered_at" TIMESTAMPTZ(3),
    "stopped_at" TIMESTAMPTZ(3),
    "fenced_at" TIMESTAMPTZ(3),

    CONSTRAINT "cancel_stops_pkey" PRIMARY KEY ("job_id", "generation", "task_id")
);

CREATE TABLE "catalog_calls" (
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "idempotency_key" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "last_error" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "catalog_calls_pkey" PRIMARY KEY ("job_id", "generation")
);

CREATE TABLE "idempotency_keys" (
    "owner_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "body_hash" TEXT NOT NULL,
    "job_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("owner_id", "key")
);

CREATE TABLE "workers" (
    "id" UUID NOT NULL,
    "host" TEXT NOT NULL,
    "pid" INTEGER NOT NULL,
    "queues" TEXT[],
    "started_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "seen_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "stopped_at" TIMESTAMPTZ(3),

    CONSTRAINT "workers_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "api_keys" (
    "id" TEXT NOT NULL,
    "owner_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "secret_hash" TEXT NOT NULL,
    "scopes" TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "settings" (
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,

    CONSTRAINT "settings_pkey" PRIMARY KEY ("key")
);

-- A restore to an earlier moment takes fences back; this id, renewed by the restore procedure, tells it.
INSERT INTO "settings" ("key", "value") VALUES ('database_incarnation', gen_random_uuid()::text);
