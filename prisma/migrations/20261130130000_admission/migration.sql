-- Tasks that wait in Postgres for their turn, and what their turn depends on. A dispatch row is `held` until it is
-- admitted to its queue; `admitted` while a task of a limited type may run, which is what limits are counted by.
ALTER TABLE "dispatch"
    ADD COLUMN "gate" TEXT,
    ADD COLUMN "owner_id" TEXT,
    ADD COLUMN "type" TEXT,
    ADD COLUMN "rank" DOUBLE PRECISION;

-- Lanes (owner and type) are found by jumping from one to the next, and the first of each by its rank.
CREATE INDEX "dispatch_held" ON "dispatch"("queue", "owner_id", "type", "rank", "job_id", "id") WHERE "gate" = 'held';
CREATE INDEX "dispatch_admitted" ON "dispatch"("type", "owner_id") WHERE "gate" = 'admitted';

-- Smaller goes first: the second at which the job came, less what its priority is worth.
ALTER TABLE "jobs"
    ADD COLUMN "priority" SMALLINT NOT NULL DEFAULT 0,
    ADD COLUMN "rank" DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE TABLE "queues" (
    "name" TEXT NOT NULL,
    -- How many messages may wait in Redis, and how many slots the live workers of the queue have.
    "window" INTEGER NOT NULL DEFAULT 0,
    "slots" INTEGER NOT NULL DEFAULT 0,
    -- Whether the last look left tasks behind that only waited for room.
    "backlogged" BOOLEAN NOT NULL DEFAULT false,
    -- Whose turn was the last one.
    "last_owner" TEXT NOT NULL DEFAULT '',
    -- Tasks admitted a second, lately.
    "rate" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "looked_at" TIMESTAMPTZ(3) NOT NULL DEFAULT now(),

    CONSTRAINT "queues_pkey" PRIMARY KEY ("name")
);

-- How many tasks of a type with a rate limit were admitted when.
CREATE TABLE "type_starts" (
    "type" TEXT NOT NULL,
    "at" TIMESTAMPTZ(6) NOT NULL,
    "count" INTEGER NOT NULL,

    CONSTRAINT "type_starts_pkey" PRIMARY KEY ("type", "at")
);

-- The job that an exclusive type runs now; free when that job has ended.
CREATE TABLE "type_holders" (
    "type" TEXT NOT NULL,
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,

    CONSTRAINT "type_holders_pkey" PRIMARY KEY ("type")
);

-- Types and tags of which nothing is begun.
CREATE TABLE "pauses" (
    "kind" TEXT NOT NULL CHECK ("kind" IN ('type', 'tag')),
    "name" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "reason" TEXT,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT now(),
    "until" TIMESTAMPTZ(3),

    CONSTRAINT "pauses_pkey" PRIMARY KEY ("kind", "name")
);

-- Who admits: one row, and one process at a time.
CREATE TABLE "admission" (
    "id" INTEGER NOT NULL DEFAULT 1 CHECK ("id" = 1),
    "leader" TEXT NOT NULL DEFAULT '',
    "until" TIMESTAMPTZ(6) NOT NULL DEFAULT now(),

    CONSTRAINT "admission_pkey" PRIMARY KEY ("id")
);

INSERT INTO "admission" DEFAULT VALUES;

CREATE INDEX "workers_live" ON "workers"("seen_at") WHERE "stopped_at" IS NULL;
