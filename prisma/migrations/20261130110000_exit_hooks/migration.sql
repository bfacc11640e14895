-- Whether something is to be told when a job has ended, whatever way; fixed when the job is accepted.
ALTER TABLE "jobs" ADD COLUMN "exit_hook" BOOLEAN NOT NULL DEFAULT false;

-- `exit`: the job has ended, and its exit hook is still to run. It is all that an ended job can have.
ALTER TABLE "dispatch" DROP CONSTRAINT "dispatch_kind";
ALTER TABLE "dispatch" ADD CONSTRAINT "dispatch_kind" CHECK ("kind" IN ('task', 'plan', 'finalize', 'start', 'deadline', 'exit'));
CREATE INDEX "dispatch_exit" ON "dispatch"("look_again_at") WHERE "kind" = 'exit';

-- Since when a unit of work is open. Of a finalization it is emptied once it was told that it takes too long.
ALTER TABLE "dispatch" ADD COLUMN "since" TIMESTAMPTZ(3) DEFAULT CURRENT_TIMESTAMP;
