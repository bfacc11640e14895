import { appendFileSync, readFileSync } from 'node:fs';

/** What the client was told, and what was done to the system, as lines of JSON in the order in which it was noted. */
export type HistoryLine = { at: number } & (
  | {
      kind: 'submitted';
      marker: string;
      /** Sent with an Idempotency-Key: then a repeat after a lost answer makes no second job. */
      keyed: boolean;
      catalog: boolean;
      /** `unknown`: no answer came, or one that does not tell whether the job was recorded. */
      outcome: 'accepted' | 'refused' | 'unknown';
      status: number;
      jobId: string | null;
    }
  /** `from`: when it was asked. The answer tells of some moment between `from` and `at`. */
  | { kind: 'cancel'; from: number; jobId: string; status: number; jobStatus: string | null }
  /** A submit or cancel that got no answer, or one that does not tell whether it was done; it may be asked again. */
  | { kind: 'unanswered'; request: 'submit' | 'cancel'; status: number }
  | { kind: 'seen'; from: number; jobId: string; status: string; progress: number; version: number }
  | { kind: 'process'; event: ProcessEvent; pid: number; name: string; code?: number | null }
  | { kind: 'fault'; what: string }
);

/** `ended`: it exited; asked for or not. */
export type ProcessEvent = 'up' | 'killed' | 'stopped' | 'continued' | 'asked-to-end' | 'ended';

/** A line without the time, which the history adds. */
export type HistoryNote = HistoryLine extends infer L
  ? L extends HistoryLine
    ? Omit<L, 'at'>
    : never
  : never;

/** The append-only record of a run. It is a file, so that it outlives a harness that is ended half-way. */
export class History {
  constructor(readonly file: string) {}

  note(line: HistoryNote): void {
    appendFileSync(this.file, `${JSON.stringify({ at: Date.now(), ...line })}\n`);
  }
}

/** Reads lines of JSON; a last line that was cut off, as by a kill, is left out. */
export function readLines<T>(file: string): T[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as T);
}
