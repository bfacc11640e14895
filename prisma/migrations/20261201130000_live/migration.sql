-- The transaction that has written a row: what a reader of the live feed has not seen yet is told by it, however late it
-- commits. Rows from before stay without one, and so nothing is rewritten; they are in no feed.
ALTER TABLE "job_events" ADD COLUMN "xid" xid8;
ALTER TABLE "job_events" ALTER COLUMN "xid" SET DEFAULT pg_current_xact_id();
CREATE INDEX "job_events_xid" ON "job_events"("xid");

-- That jobs have come further, for the live feed: progress is no transition and has no place in the ledger. Deleted after
-- some minutes.
CREATE TABLE "progress_marks" (
    "seq" BIGSERIAL NOT NULL,
    "xid" xid8 DEFAULT pg_current_xact_id(),
    "job_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "progress_marks_pkey" PRIMARY KEY ("seq")
);

CREATE INDEX "progress_marks_xid" ON "progress_marks"("xid");

-- Tickets for browsers, which cannot send a key with a WebSocket: of one use and for some seconds. Only their hash is kept.
CREATE TABLE "live_tickets" (
    "hash" TEXT NOT NULL,
    "owner_id" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "key_id" TEXT,
    "scopes" TEXT[],
    "credential_expires_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "live_tickets_pkey" PRIMARY KEY ("hash")
);

CREATE INDEX "live_tickets_expiry" ON "live_tickets"("expires_at");
