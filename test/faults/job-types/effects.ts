import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { z } from 'zod';

/** What every job of the load is told. */
export const Common = {
  /** Which submit of the load this is: how a job is found again whose answer was lost. */
  marker: z.string(),
  /** The file that takes a line for every beginning and end of an execution. */
  effects: z.string(),
};

/** The worker's process: what runs alone, in a process that the worker has started, is its execution too. */
const workerPid = process.send ? process.ppid : process.pid;

/** One line of the effects file: what a handler did, as it did it and without asking anybody. */
export interface EffectLine {
  at: number;
  what: 'started' | 'finished' | 'aborted';
  /** The execution: one call of `run`. */
  execution: string;
  jobId: string;
  taskId: string;
  attempt: number;
  pid: number;
}

/** Runs the work of a task as one recorded execution, and answers what the task is to return. */
export async function recorded(
  file: string,
  of: { jobId: string; taskId: string; attempt: number },
  work: () => Promise<void>,
): Promise<{ execution: string }> {
  const execution = randomUUID();
  const note = (what: EffectLine['what']) => {
    const line: EffectLine = { at: Date.now(), what, execution, ...of, pid: workerPid };
    // O_APPEND, one write a line: many processes share the file, and a killed one leaves what it wrote.
    appendFileSync(file, `${JSON.stringify(line)}\n`);
  };
  note('started');
  try {
    await work();
  } catch (error) {
    note('aborted');
    throw error;
  }
  note('finished');
  return { execution };
}
