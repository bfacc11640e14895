-- The list of all owners' jobs, for administrators. Written once, at the end of the index. Of an expression that only this
-- list has: by the plain time the planner would read an owner's list from it too, past the jobs of all others.
CREATE INDEX "jobs_by_time" ON "jobs"(("created_at" AT TIME ZONE 'UTC') DESC, "id" DESC);
