-- Jobs with a time: when they are due, when they are given up if they have not begun, how long they may run.
ALTER TABLE "jobs" ADD COLUMN "run_at" TIMESTAMPTZ(3),
ADD COLUMN "expires_at" TIMESTAMPTZ(3),
ADD COLUMN "max_runtime_ms" BIGINT;

ALTER TABLE "jobs" ADD CONSTRAINT "jobs_scheduled" CHECK ("status" <> 'scheduled' OR "run_at" IS NOT NULL);

-- How retention finds what is old without a scan; written once, when a job ends.
CREATE INDEX "jobs_ended_at" ON "jobs"("finished_at") WHERE "finished_at" IS NOT NULL;

-- `start`: a scheduled job has this one row instead of one for each task. `deadline`: the job is given up then.
ALTER TABLE "dispatch" DROP CONSTRAINT "dispatch_kind";
ALTER TABLE "dispatch" ADD CONSTRAINT "dispatch_kind" CHECK ("kind" IN ('task', 'plan', 'finalize', 'start', 'deadline'));

-- Effects that a task has committed together with its own transaction; a later attempt gets the result and runs nothing.
CREATE TABLE "task_commits" (
    "task_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    "result" JSONB,
    "committed_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "task_commits_pkey" PRIMARY KEY ("task_id", "generation", "key")
);

-- Retention forgets the keys of the jobs that it deletes.
CREATE INDEX "idempotency_keys_job" ON "idempotency_keys"("job_id");
