import { type Evidence, groupBy } from '../evidence.js';
import type { Violation } from './violation.js';

/** Compares what the Catalog was told with how the jobs ended. Its records bear the ids of the jobs. */
export function checkCatalog({ catalog, jobs, history }: Evidence): Violation[] {
  const found: Violation[] = [];
  const posts = groupBy(
    catalog.filter((call) => call.method === 'POST'),
    (call) => recordOf(call.body),
  );
  const byId = new Map(jobs.map((job) => [job.id, job]));
  for (const [id, calls] of posts) {
    const told = new Set(calls.map((call) => `${call.idempotencyKey} ${call.body}`));
    const applied = calls.filter((call) => call.applied).length;
    if (told.size > 1 || applied > 1)
      found.push({ rule: 'double-finalize', subject: id, detail: `${told.size} bodies, ${applied} applied` });
    const job = byId.get(id);
    if (!job) found.push({ rule: 'phantom', subject: id, detail: 'no job has the id of this record' });
    else if (job.ended && job.status !== 'completed')
      found.push({ rule: 'finalized-wrongly', subject: id, detail: `the job is ${job.status}` });
  }
  for (const line of history) {
    if (line.kind !== 'submitted' || !line.catalog || line.jobId === null) continue;
    if (byId.get(line.jobId)?.status !== 'completed') continue;
    if (!posts.get(line.jobId)?.some((call) => call.applied))
      found.push({ rule: 'not-finalized', subject: line.jobId, detail: 'no call of it was applied' });
  }
  return found;
}

function recordOf(body: string): string {
  try {
    return String((JSON.parse(body) as { id?: unknown }).id);
  } catch {
    return 'unreadable';
  }
}
