-- How the receipts are found that a worker has left open when it died; few at any time.
CREATE INDEX "cancel_stops_open" ON "cancel_stops"("worker") WHERE "stopped_at" IS NULL AND "fenced_at" IS NULL;
