-- Whether a task was running when its worker died: it may be what killed it, so its next attempt runs alone.
ALTER TABLE "tasks" ADD COLUMN "suspect" BOOLEAN NOT NULL DEFAULT false;
