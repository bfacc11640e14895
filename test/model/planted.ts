/** A bug, put into the engine on purpose: the tests of this folder must see it. */
export interface Planted {
  name: string;
  /** In libs/engine/src/store. */
  file: string;
  /** Every place where it stands is replaced, and there is at least one. */
  find: string;
  replace: string;
  /** What is run against it: some hundred sequences, or the races of two calls. */
  by: 'sequences' | 'races';
}

export const PLANTED: Planted[] = [
  {
    name: 'a finish needs no fence',
    file: 'finish-tasks.ts',
    find: `t.status = 'active' AND t.fence = m.fence\n`,
    replace: `t.status = 'active'\n`,
    by: 'sequences',
  },
  {
    name: 'progress needs no fence',
    file: 'task-progress.ts',
    find: `t.status = 'active' AND t.fence = m.fence`,
    replace: `t.status = 'active'`,
    by: 'sequences',
  },
  {
    name: 'a checkpoint needs no fence',
    file: 'task-progress.ts',
    find: 'AND fence = ${lease.fence} ',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'an effect is not checked again before its commit',
    file: 'commit-effect.ts',
    find: 'if (!still) throw new StaleFenceError();',
    replace: 'void still;',
    by: 'races',
  },
  {
    name: 'an effect is recorded under another key',
    file: 'commit-effect.ts',
    find: '${key}, ${JSON',
    replace: '${key + Math.random()}, ${JSON',
    by: 'sequences',
  },
  {
    name: 'a claim takes a task of any state',
    file: 'claim-tasks.ts',
    find: ' AND t.status = ANY(${open}::text[]), false)',
    replace: ', false)',
    by: 'sequences',
  },
  {
    name: 'a repeated claim is not recognised',
    file: 'claim-tasks.ts',
    find: `WHERE s.status = 'active' AND s.again`,
    replace: 'WHERE false',
    by: 'sequences',
  },
  {
    name: 'the end of a job leaves the fences as they are',
    file: 'end-open-tasks.ts',
    find: 'fence = t.fence + 1, ',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'the end of a job ends only what runs',
    file: 'end-open-tasks.ts',
    find: 'AND t.finished_at IS NULL',
    replace: `AND t.status = 'active'`,
    by: 'sequences',
  },
  {
    name: 'the end of a job leaves the dispatch rows',
    file: 'end-open-tasks.ts',
    find: 'WHERE d.id = o.id AND d.kind = o.kind',
    replace: 'WHERE d.id = o.id AND d.kind = o.kind AND false',
    by: 'sequences',
  },
  {
    name: 'a failed job leaves its open tasks',
    file: 'finish-tasks.ts',
    find: 'if (failed.length > 0) await endOpenTasks(sql, failed.toSorted(), actor, false);',
    replace: 'void [failed, endOpenTasks];',
    by: 'sequences',
  },
  {
    name: 'the counters are read without the lock of the job',
    file: 'finish-tasks.ts',
    find: 'ORDER BY id FOR NO KEY UPDATE ${skip}',
    replace: 'ORDER BY id',
    by: 'races',
  },
  {
    name: 'a lease is taken for ended without a look',
    file: 'finish-tasks.ts',
    find: 'AND (NOT m.expired OR t.lease_until < clock_timestamp())',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'the last task never leads to finalization',
    file: 'finish-tasks.ts',
    find: `WHEN ended AND finalize AND tasks_total > 0 THEN 'finalizing'`,
    replace: '',
    by: 'sequences',
  },
  {
    name: 'a retry keeps the counters',
    file: 'retry-job.ts',
    find: 'tasks_failed = 0, tasks_canceled = 0, ',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'a retry keeps the attempts',
    file: 'retry-job.ts',
    find: 'attempt = 0, ',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'progress goes back',
    file: 'task-progress.ts',
    find: 'GREATEST(t.progress, m.percent)',
    replace: 'm.percent',
    by: 'sequences',
  },
  {
    name: 'a job ends twice in its ledger',
    file: 'finalization.ts',
    find: '${error?.code ?? null} FROM j',
    replace: '${error?.code ?? null} FROM j, generate_series(1, 2)',
    by: 'sequences',
  },
  {
    name: 'a plan adds tasks without the lock of the job',
    file: 'add-planned-tasks.ts',
    find: `AND status = 'active' FOR NO KEY UPDATE`,
    replace: `AND status = 'active'`,
    by: 'races',
  },
  {
    name: 'an old turn of a finalization still writes',
    file: 'finalization.ts',
    find: 'AND d.epoch = ${turn.epoch} ',
    replace: '',
    by: 'races',
  },
  {
    name: 'a turn of an earlier generation still writes',
    file: 'finalization.ts',
    find: 'AND generation = ${turn.generation} ',
    replace: '',
    by: 'races',
  },
  {
    name: 'a cancel does not look at the state again when it gets the lock',
    file: 'cancel-job.ts',
    find: "AND status = ANY(${jobSourcesOf('cancel')}::text[])\n",
    replace: "AND id IN (SELECT id FROM jobs WHERE status = ANY(${jobSourcesOf('cancel')}::text[]))\n",
    by: 'races',
  },
  {
    name: 'a cancel opens no exit',
    file: 'cancel-job.ts',
    find: 'x AS (${openExits(Prisma.sql`j`)}), ',
    replace: '',
    by: 'sequences',
  },
  {
    name: 'an exit does not wait for what still runs',
    file: 'exit-hooks.ts',
    find: 'OR NOT EXISTS (',
    replace: 'OR true OR NOT EXISTS (',
    by: 'sequences',
  },
  {
    name: 'an old turn of an exit still ends it',
    file: 'exit-hooks.ts',
    find: 'AND d.epoch = ${turn.epoch}\n',
    replace: '\n',
    by: 'races',
  },
  {
    name: 'an exit that is passed by is ended at once',
    file: 'strange-exits.ts',
    find: 'AND d.since < statement_timestamp() - make_interval(secs => ${limitMs / 1000}::float8) AS over',
    replace: 'AS over',
    by: 'sequences',
  },
  {
    name: 'a retry does not wait for the exit',
    file: 'retry-job.ts',
    find: 'if (await exitIsOpen(sql, jobId))',
    replace: 'if (false && (await exitIsOpen(sql, jobId)))',
    by: 'sequences',
  },
  {
    name: 'retention does not wait for the exit',
    file: 'retention.ts',
    find: 'AND NOT (exit_hook AND',
    replace: 'AND NOT (false AND',
    by: 'sequences',
  },
  {
    name: 'a resolve ends a job in any state',
    file: 'resolve-job.ts',
    find: ` AND status = 'finalizing'\n`,
    replace: '\n',
    by: 'sequences',
  },
  {
    name: 'a job is queued again that another sweeper has queued',
    file: 'timed-jobs.ts',
    find: `AND status = 'scheduled' AND run_at <= clock_timestamp()\n        ORDER BY id FOR NO KEY UPDATE`,
    replace: `AND status = 'scheduled'\n        ORDER BY id`,
    by: 'races',
  },
];
