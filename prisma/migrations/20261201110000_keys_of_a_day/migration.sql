-- Idempotency keys are kept for 24 hours and no longer with their job: they are swept by their age, and looked for by no job.
CREATE INDEX "idempotency_keys_by_age" ON "idempotency_keys"("created_at");
DROP INDEX "idempotency_keys_job";
