import {
  type AbortReason,
  type AttemptPolicy,
  type Outcome,
  outcomeOfLoneDeath,
  outcomeOfReturn,
  outcomeOfThrow,
} from '@app/core';
import { SandboxStartError } from '../sandbox/sandbox-process.js';
import { LoneDeathError } from '../sandbox/sandboxed-attempt.js';
import type { FinishMember } from '../store/finish-tasks.js';
import type { Settlement } from './attempt.js';

/** How an attempt ended; `killed`: its process was taken away, for it did not stop. */
export type Ended = Settlement | { kind: 'killed' };

/** What became of an attempt, and what that tells of its task. */
export interface Judgement {
  outcome: Outcome;
  more: Pick<FinishMember, 'charged' | 'suspicion'>;
}

/**
 * Judges an attempt by its end and by the reason of its abort. Only an attempt that came to an end of its own clears
 * its task of the suspicion of being a killer.
 * @param hide takes the credentials out of the text of an error, which is stored and shown to users.
 */
export function judgeAttempt(
  ended: Ended,
  aborted: AbortReason | undefined,
  policy: AttemptPolicy & { crashes: number },
  hide: (text: string) => string,
): Judgement {
  const error = ended.kind === 'threw' ? ended.error : undefined;
  if (error instanceof LoneDeathError && aborted === undefined) {
    const { charged, ...outcome } = outcomeOfLoneDeath(policy, error.how);
    return { outcome, more: { charged, suspicion: 'alone' } };
  }
  const outcome =
    ended.kind === 'returned'
      ? outcomeOfReturn(ended.value, aborted, policy)
      : outcomeOfThrow(error, aborted, policy);
  if ('error' in outcome) outcome.error.message = hide(outcome.error.message);
  const charged = outcome.status !== 'paused';
  const own = ended.kind === 'returned' || (ended.kind === 'threw' && !isDeath(error));
  return { outcome, more: { charged, ...(own && charged ? { suspicion: 'cleared' as const } : {}) } };
}

/** Whether the handler never came to an end, or never began. */
function isDeath(error: unknown): boolean {
  return error instanceof LoneDeathError || error instanceof SandboxStartError;
}
