import type { Jobs } from '@app/engine/jobs.js';
import type { Principal } from '@app/platform/auth/principal.js';
import { validate as isUuid } from 'uuid';
import { jobNotFound } from '../problems/problem.js';

/**
 * As whom a job is looked at or changed: an administrator acts for its owner, everybody else for themselves.
 * @throws {ProblemError} not-found, when no job can have this id
 */
export async function ownerFor(jobs: Jobs, { ownerId, scopes }: Principal, jobId: string): Promise<string> {
  if (!isUuid(jobId)) throw jobNotFound();
  return scopes.includes('admin') ? ((await jobs.ownerOf(jobId)) ?? ownerId) : ownerId;
}
