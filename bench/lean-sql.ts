/** Messages are sent when there is room for them, as the engine must for its priorities, turns and limits. */
export const HELD = 'held';

/** Tables with as little as a task with a lease and a fence, a job that counts its tasks, and their history need. */
export const LEAN_SCHEMA = `
  DROP SCHEMA IF EXISTS lean CASCADE;
  CREATE SCHEMA lean;
  CREATE TABLE lean.jobs (
    id uuid PRIMARY KEY, total int, done int DEFAULT 0, status text DEFAULT 'active', finished_at timestamptz
  ) WITH (fillfactor = 70);
  CREATE TABLE lean.tasks (
    id uuid PRIMARY KEY, job_id uuid, status text DEFAULT 'queued', fence int DEFAULT 0, worker uuid, lease_until timestamptz,
    started_at timestamptz, finished_at timestamptz
  ) WITH (fillfactor = 70);
  CREATE TABLE lean.dispatch (id uuid PRIMARY KEY, gate text DEFAULT 'held', look_again_at timestamptz DEFAULT 'infinity')
    WITH (fillfactor = 70);
  CREATE INDEX dispatch_held ON lean.dispatch (id) WHERE gate = 'held';
  CREATE INDEX dispatch_look_again_at ON lean.dispatch (look_again_at);
  CREATE TABLE lean.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id uuid, kind text, tasks jsonb, at timestamptz DEFAULT now()
  )`;

const event = (kind: string) => `
  INSERT INTO lean.events (job_id, kind, tasks)
  SELECT job_id, '${kind}', jsonb_agg(jsonb_build_object('id', id, 'fence', fence)) FROM written GROUP BY job_id`;

/** One statement for each step, for a batch of tasks. Rows are locked in the order of their ids, jobs before tasks. */
export const LEAN_SQL = {
  accept: `
    WITH j AS (INSERT INTO lean.jobs (id, total) SELECT id, 10 FROM unnest($1::uuid[]) j(id)),
    t AS (INSERT INTO lean.tasks (id, job_id) SELECT id, job_id FROM unnest($2::uuid[], $3::uuid[]) t(id, job_id))
    INSERT INTO lean.dispatch (id) SELECT id FROM unnest($2::uuid[]) t(id)`,
  admit: `
    WITH free AS MATERIALIZED (
      SELECT id FROM lean.dispatch WHERE gate = 'held' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE lean.dispatch d SET gate = 'sent', look_again_at = clock_timestamp() + interval '2 s'
    FROM free WHERE d.id = free.id RETURNING d.id`,
  claim: `
    WITH locked AS MATERIALIZED (
      SELECT t.id FROM unnest($1::uuid[]) m(id) JOIN lean.tasks t ON t.id = m.id
      WHERE COALESCE(t.status = 'queued', false) ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ), written AS (
      UPDATE lean.tasks t SET status = 'active', fence = fence + 1, worker = $2, started_at = clock_timestamp(),
        lease_until = clock_timestamp() + interval '10 s'
      FROM locked WHERE t.id = locked.id RETURNING t.id, t.job_id, t.fence
    ), e AS (${event('tasks.active')})
    SELECT id, fence FROM written`,
  finish: `
    WITH j AS MATERIALIZED (
      SELECT id FROM lean.jobs WHERE id = ANY(ARRAY(SELECT job_id FROM lean.tasks WHERE id = ANY($1::uuid[])))
      ORDER BY id FOR NO KEY UPDATE
    ), locked AS MATERIALIZED (
      SELECT t.id FROM unnest($1::uuid[], $2::int[]) m(id, fence) JOIN lean.tasks t ON t.id = m.id
      WHERE COALESCE(t.status = 'active' AND t.fence = m.fence AND t.job_id IN (SELECT id FROM j), false)
      ORDER BY t.id FOR NO KEY UPDATE OF t
    ), written AS (
      UPDATE lean.tasks t SET status = 'completed', lease_until = NULL, finished_at = clock_timestamp()
      FROM locked WHERE t.id = locked.id RETURNING t.id, t.job_id, t.fence
    ), gone AS (
      DELETE FROM lean.dispatch d USING written WHERE d.id = written.id
    ), counted AS (
      SELECT job_id, count(*)::int AS n FROM written GROUP BY job_id
    ), rolled_up AS (
      UPDATE lean.jobs SET done = done + n, status = CASE WHEN done + n = total THEN 'completed' ELSE 'active' END,
        finished_at = CASE WHEN done + n = total THEN clock_timestamp() END
      FROM counted WHERE jobs.id = job_id
    ), e AS (${event('tasks.completed')})
    SELECT FROM written`,
};
