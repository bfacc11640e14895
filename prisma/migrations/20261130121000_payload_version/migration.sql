-- The version of a job's payload, by the type that accepted it: older code leaves the job to others.
ALTER TABLE "jobs" ADD COLUMN "payload_version" INTEGER NOT NULL DEFAULT 1;
