-- What a worker can run, and what it ran at its last heartbeat; for those who look, nothing is decided by it.
ALTER TABLE "workers"
    ADD COLUMN "tags" TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN "slots" INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN "types" JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN "running" UUID[] NOT NULL DEFAULT '{}';
