-- How the receipts are found that a worker has left open when it died; few at any time.
CREATE INDEX "cancel_stops_open" ON "cancel_stops"("worker") WHERE "stopped_at" IS NULL AND "fenced_at" IS NULL;

-- How often a job's own code has failed while the job was finalized. Turns that only waited are none of it.
ALTER TABLE "dispatch" ADD COLUMN "failures" INTEGER NOT NULL DEFAULT 0;

-- The syncer looks for finalizations alone, which may be few among many due tasks.
CREATE INDEX "dispatch_finalize" ON "dispatch"("look_again_at") WHERE "kind" = 'finalize';
