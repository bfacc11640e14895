/** The promises that can be broken. Each is proven by a planted violation in check-history.spec.ts. */
export const RULES = {
  lost: 'a job was accepted (201) and is not there',
  unfinished: 'a job has not ended although the system was given time',
  phantom: 'a job, execution or catalog record is there that nobody asked for',
  'doubled-submit': 'one submit with an Idempotency-Key, or one that was answered, made two jobs',
  'cancel-undone': 'a cancel was answered 200 and the job ended otherwise',
  'left-final': 'a job was seen in a final state and later in another one',
  'state-back': 'a job was seen in an earlier state than before',
  'progress-back': 'the progress or version of a job was seen to go back',
  'progress-false': 'a job shows 100 and is not completed, or is completed and shows less',
  'second-ending': 'the ledger holds two endings of one job and generation',
  'no-ending': 'the ledger and the job do not agree on how it ended',
  'illegal-step': 'the ledger holds a transition that the state machine does not know',
  'accepted-twice': 'the result of a task was accepted twice',
  'stale-accepted': 'a write was accepted under a fence that was not the newest claim',
  'fence-repeated': 'a fence was granted twice, or fences did not rise',
  'accepted-late': 'something of a task was accepted after its job had ended',
  'result-unknown': 'an accepted result is of no execution that has finished',
  overlap: 'two executions of one task ran at one time in processes that were not stopped',
  unclaimed: 'a task was executed more often than it was claimed',
  'ran-canceled': 'an execution began long after the cancel was answered',
  'double-finalize': 'the Catalog was told two different things of one job, or was changed twice',
  'finalized-wrongly': 'the Catalog knows a job that was not completed',
  'not-finalized': 'a completed job is not in the Catalog although it asked for it',
  'left-open': 'a task, plan or dispatch row of an ended job is still open',
  'wrong-count': 'the counts of a job and its tasks do not agree',
} as const;

export type Rule = keyof typeof RULES;

/** One broken promise. */
export interface Violation {
  rule: Rule;
  /** The job, task or marker that it is about. */
  subject: string;
  detail: string;
}
