-- Who is mailed of the end of a job, and of which ends: {"email": [...], "on": ["failed"]}. Fixed when the job is accepted.
ALTER TABLE "jobs" ADD COLUMN "notify" JSONB;

-- The ends of jobs that somebody is to be told of, written in the transaction that ends the job, and late beginnings, likewise.
-- It has all that is told, for a retry may change the job before it is read.
CREATE TABLE "outbox" (
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "owner_id" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    -- Of a job that had not begun in time after its slot, and of which slot. It will end as well.
    "late" BOOLEAN NOT NULL DEFAULT false,
    "slot" JSONB,
    "error" JSONB,
    "labels" JSONB,
    "notify" JSONB,
    "ended_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT "outbox_pkey" PRIMARY KEY ("job_id", "generation", "late"),
    CONSTRAINT "outbox_status" CHECK ("status" IN ('completed', 'failed', 'canceled', 'late')),
    CONSTRAINT "outbox_late" CHECK ("late" = ("status" = 'late'))
);

CREATE INDEX "outbox_ended_at" ON "outbox"("ended_at");

-- An address of an owner that is called when jobs end.
CREATE TABLE "webhooks" (
    "id" UUID NOT NULL,
    "owner_id" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "description" TEXT,
    "events" TEXT[] NOT NULL,
    -- Empty: every type.
    "types" TEXT[] NOT NULL DEFAULT '{}',
    "secret" TEXT NOT NULL,
    -- The one before, which signs as well until then.
    "old_secret" TEXT,
    "old_secret_until" TIMESTAMPTZ(3),
    -- Deliveries that have failed for good since the last one that arrived, and since when.
    "failures" INTEGER NOT NULL DEFAULT 0,
    "failing_since" TIMESTAMPTZ(3),
    "disabled_at" TIMESTAMPTZ(3),
    "disabled_reason" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT "webhooks_pkey" PRIMARY KEY ("id")
);

-- An ending asks whether its owner has any.
CREATE INDEX "webhooks_owner" ON "webhooks"("owner_id", "created_at", "id");

-- One notice for one recipient: a mail to an address, which may be a digest of those that were too many, or a call of a webhook.
CREATE TABLE "deliveries" (
    "id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "owner_id" TEXT NOT NULL,
    -- None of a digest and of a trial.
    "job_id" UUID,
    "generation" INTEGER,
    -- An address, or the id of a webhook.
    "recipient" TEXT NOT NULL,
    "event" TEXT NOT NULL,
    "data" JSONB NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'waiting',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    -- The number of the turn; every later write names it.
    "fence" INTEGER NOT NULL DEFAULT 0,
    -- Whether somebody has taken it and not yet said what came of it.
    "trying" BOOLEAN NOT NULL DEFAULT false,
    -- When it is due, or its turn is over; empty when nothing is to be done any more.
    "look_again_at" TIMESTAMPTZ(6) DEFAULT clock_timestamp(),
    -- Of the last try.
    "code" INTEGER,
    "error" TEXT,
    "tried_at" TIMESTAMPTZ(3),
    -- The digest that tells of this mail instead.
    "digest_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "deliveries_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "deliveries_kind" CHECK ("kind" IN ('mail', 'webhook')),
    CONSTRAINT "deliveries_status" CHECK ("status" IN ('waiting', 'delivered', 'failed', 'collected')),
    CONSTRAINT "deliveries_waiting" CHECK (("status" = 'waiting') = ("look_again_at" IS NOT NULL)),
    CONSTRAINT "deliveries_ended" CHECK (("status" = 'waiting') = ("ended_at" IS NULL))
) WITH (fillfactor = 80);

-- Nobody is told twice of one end of a job, and of its late beginning.
CREATE UNIQUE INDEX "deliveries_once" ON "deliveries"("job_id", "generation", "kind", "recipient", ("event" = 'job.late')) WHERE "job_id" IS NOT NULL;
CREATE INDEX "deliveries_due" ON "deliveries"("kind", "look_again_at") WHERE "status" = 'waiting';
-- Finds what is due of each recipient, where one with many would hide the others.
CREATE INDEX "deliveries_due_of" ON "deliveries"("kind", "recipient", "look_again_at") WHERE "status" = 'waiting';
CREATE INDEX "deliveries_log" ON "deliveries"("recipient", "created_at" DESC, "id" DESC) WHERE "kind" = 'webhook';
CREATE INDEX "deliveries_of_digest" ON "deliveries"("digest_id", "created_at", "id") WHERE "digest_id" IS NOT NULL;
CREATE INDEX "deliveries_ended_at" ON "deliveries"("ended_at") WHERE "ended_at" IS NOT NULL;

-- How many mails an address got lately for an owner. Ended by the digest of what was too much.
CREATE TABLE "mail_windows" (
    "owner_id" TEXT NOT NULL,
    "recipient" TEXT NOT NULL,
    "began_at" TIMESTAMPTZ(3) NOT NULL,
    "count" INTEGER NOT NULL,
    "digest_id" UUID NOT NULL,

    CONSTRAINT "mail_windows_pkey" PRIMARY KEY ("owner_id", "recipient")
);

CREATE INDEX "mail_windows_began_at" ON "mail_windows"("began_at");
