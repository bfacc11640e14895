-- Texts that whoever submits a job gives it, by key.
ALTER TABLE "jobs" ADD COLUMN "labels" JSONB;

-- Lists by state, type and tag, each newest first within its owner. All of it is written once: the outcome when a job
-- ends, the rest when it is accepted, so that the updates of an open job stay heap-only.
CREATE INDEX "jobs_by_outcome" ON "jobs"("owner_id", "outcome", "created_at" DESC, "id" DESC) WHERE "outcome" IS NOT NULL;
CREATE INDEX "jobs_open_by_owner" ON "jobs"("owner_id", "created_at" DESC, "id" DESC) WHERE "finished_at" IS NULL;
CREATE INDEX "jobs_by_type" ON "jobs"("owner_id", "type", "created_at" DESC, "id" DESC);
CREATE INDEX "jobs_by_tag" ON "jobs"("owner_id", "queue", "created_at" DESC, "id" DESC) WHERE "queue" <> 'default';

-- The labels that a job type declares searchable, and no others.
CREATE TABLE "job_labels" (
    "owner_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "job_id" UUID NOT NULL
);

CREATE INDEX "job_labels_list" ON "job_labels"("owner_id", "key", "value", "created_at" DESC, "job_id" DESC);
-- Of a job a key has one value; and how retention finds the labels of what it deletes.
ALTER TABLE "job_labels" ADD CONSTRAINT "job_labels_pkey" PRIMARY KEY ("job_id", "key");
