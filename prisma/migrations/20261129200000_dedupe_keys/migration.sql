-- A job that holds a key lets no other open job have it. The key is free as soon as its job has ended: whoever wants it
-- looks at that job, so that an ending has nothing to do.
CREATE TABLE "dedupe_keys" (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,

    CONSTRAINT "dedupe_keys_pkey" PRIMARY KEY ("scope", "key")
);

CREATE INDEX "dedupe_keys_job" ON "dedupe_keys"("job_id");

-- What a retry has to take again, as [{"scope", "key"}].
ALTER TABLE "jobs" ADD COLUMN "dedupe" JSONB;
