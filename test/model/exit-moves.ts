import { note } from './changes.js';
import type { Model, ModelJob, Turn } from './model.js';

/** An attempt that ran when its job ended, and of which it is not known that it has stopped. */
export interface OpenStop {
  jobId: string;
  generation: number;
  taskId: string;
}

export const openStopsOf = (job: ModelJob): OpenStop[] =>
  job.stops.flatMap((stop) => {
    const [generation, taskId, state] = stop.split(' ') as [string, string, string];
    return state === 'open' ? [{ jobId: job.id, generation: Number(generation), taskId }] : [];
  });

/** An attempt of a job that has ended has stopped. */
export function noteStop(model: Model, { jobId, generation, taskId }: OpenStop): void {
  const job = model.jobs.get(jobId);
  if (job)
    job.stops = job.stops.map((stop) =>
      stop.replace(`${generation} ${taskId} open`, `${generation} ${taskId} over`),
    );
}

/**
 * Gives out a turn for every open exit of which no attempt runs any more; each ends the turns before it.
 * @param anew also for those of which a turn was given out and is not over by time
 */
export function takeExits(model: Model, anew = true): string[] {
  const taken: string[] = [];
  for (const job of model.jobs.values()) {
    if (job.exit === 0 || openStopsOf(job).some(({ generation }) => generation === job.generation)) continue;
    const taking = ({ jobId, generation }: Turn) => jobId === job.id && generation === job.generation;
    if (!anew && model.exits.some(taking)) continue;
    job.exit++;
    model.exits.push({ jobId: job.id, epoch: job.exit, generation: job.generation });
    taken.push(`${job.id} ${job.exit} ${job.generation} ${job.status}`);
  }
  return taken.toSorted();
}

/** The job of a turn, while the turn is the latest one of this very generation. */
function heldJob(model: Model, turn: Turn): ModelJob | undefined {
  const job = model.jobs.get(turn.jobId);
  return job?.exit === turn.epoch && job.generation === turn.generation ? job : undefined;
}

/** The hook was run: nothing of the job but its ledger tells it. */
export function endExit(model: Model, turn: Turn): boolean {
  const job = heldJob(model, turn);
  if (!job) return false;
  job.exit = 0;
  note(job, 'job.exited');
  return true;
}

export const holdsExit = (model: Model, turn: Turn) => heldJob(model, turn) !== undefined;

/** Ends every exit that is open: nobody has had the job type for long enough. */
export function endStrange(model: Model): string[] {
  const strange = [...model.jobs.values()].filter((job) => job.exit > 0);
  for (const job of strange) {
    job.exit = 0;
    note(job, 'job.exited');
  }
  return strange.map(({ id }) => id).toSorted();
}
