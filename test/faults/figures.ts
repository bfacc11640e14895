import { executionsOf } from './checks/executions.js';
import type { Rule, Violation } from './checks/violation.js';
import type { Evidence } from './evidence.js';

/** What is told of a scenario beside whether it passed. */
export interface Figures {
  jobs: number;
  tasks: number;
  lost: number;
  doubled: number;
  secondEndings: number;
  doubleFinalize: number;
  /** Milliseconds from the last fault until all jobs had ended. */
  recoverMs: number | null;
  /** Tasks that were claimed more than once. */
  redelivered: number;
  /** Executions that finished and whose result was not accepted. */
  wasted: number;
  /** Writes that came too late, and leases that ended, by the words of the logs. */
  fencedOff: number;
  /** Tasks that ended a process in which they ran alone. */
  charged: number;
  /** Tasks that failed for good. */
  failed: number;
  /** Submits and cancels whose outcome the client did not learn when it asked. */
  unknown: number;
}

const FENCED = /"msg":"(a late result was refused|a lease has ended)"/;

/** Counts what the evidence and the logs tell. */
export function figuresOf(
  evidence: Evidence,
  violations: Violation[],
  logs: string[],
  recoverMs: number | undefined,
): Figures {
  const broken = (...rules: Rule[]) => violations.filter(({ rule }) => rules.includes(rule)).length;
  const claims = new Map<string, number>();
  for (const { kind, tasks } of evidence.events)
    if (kind === 'tasks.active') for (const { id } of tasks) claims.set(id, (claims.get(id) ?? 0) + 1);
  const accepted = new Set(evidence.tasks.map((task) => task.execution));
  return {
    jobs: evidence.jobs.length,
    tasks: evidence.tasks.length,
    lost: broken('lost', 'unfinished'),
    doubled: broken(
      'accepted-twice',
      'overlap',
      'doubled-submit',
      'stale-accepted',
      'fence-repeated',
      'unclaimed',
    ),
    secondEndings: broken('second-ending'),
    doubleFinalize: broken('double-finalize'),
    recoverMs: recoverMs ?? null,
    redelivered: [...claims.values()].filter((count) => count > 1).length,
    wasted: executionsOf(evidence).filter((one) => one.finished && !accepted.has(one.id)).length,
    fencedOff: logs.filter((line) => FENCED.test(line)).length,
    charged: evidence.tasks.filter((task) => task.crashes > 0).length,
    failed: evidence.tasks.filter((task) => task.status === 'failed').length,
    unknown: evidence.history.filter((line) => line.kind === 'unanswered').length,
  };
}
