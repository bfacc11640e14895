import type { Json } from '@app/core';
import { OWNER } from './call.js';
import { moveJob, note } from './changes.js';
import { type Model, type ModelJob, type Turn } from './model.js';

/**
 * Gives out a turn for every job that waits to be finalized; each ends the turns before it.
 * @param anew also for those of which a turn was given out and is not over by time
 */
export function takeTurns(model: Model, anew = true): string[] {
  const taken: string[] = [];
  for (const job of model.jobs.values()) {
    if (job.status !== 'finalizing') continue;
    const taking = ({ jobId, generation }: Turn) => jobId === job.id && generation === job.generation;
    if (!anew && model.turns.some(taking)) continue;
    job.turn++;
    model.turns.push({ jobId: job.id, epoch: job.turn, generation: job.generation });
    const call = callOf(job);
    taken.push(`${job.id} ${job.turn} ${call ? `${call.key} ${call.attempts}` : 'nothing stored'}`);
  }
  return taken.toSorted();
}

/** The job of a turn, while the turn is the latest one of this very generation. */
function heldJob(model: Model, turn: Turn): ModelJob | undefined {
  const job = model.jobs.get(turn.jobId);
  const holds = job?.status === 'finalizing' && job.turn === turn.epoch && job.generation === turn.generation;
  return holds ? job : undefined;
}

const callOf = (job: ModelJob) => job.calls.find(({ generation }) => generation === job.generation);

/** Stores what will be posted, once; a later turn finds it. */
export function storeCall(model: Model, turn: Turn, key: string, result: Json): boolean {
  const job = heldJob(model, turn);
  if (!job) return false;
  job.result = result;
  if (!callOf(job)) job.calls.push({ generation: job.generation, key, attempts: 0, lastError: null });
  return true;
}

/** Counts a POST; without a stored call there is none to make. */
export function countCall(model: Model, turn: Turn): boolean {
  const job = heldJob(model, turn);
  const call = job && callOf(job);
  if (!call) return false;
  call.attempts++;
  return true;
}

/** Ends the job as the Catalog has answered. */
export function endTurn(model: Model, turn: Turn, rejected: boolean): boolean {
  const job = heldJob(model, turn);
  if (!job) return false;
  moveJob(job, rejected ? 'failed' : 'completed');
  job.version++;
  job.error = rejected ? 'catalog_rejected' : null;
  if (!rejected) job.progress = 100;
  note(job, `job.${job.status}`);
  return true;
}

/** An administrator ends a job that is being finalized, whatever turn is under way. */
export function resolve(model: Model, jobId: string, status: 'completed' | 'failed'): unknown {
  const job = model.jobs.get(jobId);
  if (!job) return null;
  if (job.status !== 'finalizing') return { kind: 'refused', status: job.status };
  moveJob(job, status);
  job.version++;
  job.error = status === 'failed' ? 'catalog_rejected' : null;
  if (status === 'completed') job.progress = 100;
  note(job, `job.${status}`);
  return { kind: 'resolved', ownerId: OWNER };
}

/** All finalizations take longer than they should: each is told of once. */
export function noteOverdue(model: Model): string[] {
  const told = [...model.jobs.values()].filter((job) => job.status === 'finalizing' && !job.overdue);
  for (const job of told) {
    job.overdue = true;
    job.version++;
    note(job, 'job.finalize-overdue');
  }
  return told.map(({ id }) => id).toSorted();
}

/** The outcome is unknown: nothing but that is noted. */
export function postpone(model: Model, turn: Turn, reason: string): void {
  const job = heldJob(model, turn);
  const call = job && callOf(job);
  if (call) call.lastError = reason;
  if (job) job.turn++;
}
