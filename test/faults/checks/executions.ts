import { type Evidence, groupBy } from '../evidence.js';
import type { Violation } from './violation.js';

/** How long after a cancel's answer an execution may still begin: it was claimed before, on a busy machine. */
const LATE_START_MS = 4000;

/** One call of a handler's `run`, as its file tells it. */
export interface Execution {
  id: string;
  jobId: string;
  taskId: string;
  pid: number;
  from: number;
  /** When it ended, or its process was gone. */
  to: number;
  finished: boolean;
  /** Whether its process had no processor for a while: then it could not know, and does harm to nobody but itself. */
  stopped: boolean;
}

/** The executions of a run, in the order in which they began. */
export function executionsOf({ effects, history }: Evidence): Execution[] {
  const gone = new Map<number, number>();
  const stopped = new Set<number>();
  for (const line of history) {
    if (line.kind !== 'process') continue;
    if (line.event === 'stopped') stopped.add(line.pid);
    if ((line.event === 'killed' || line.event === 'ended') && !gone.has(line.pid))
      gone.set(line.pid, line.at);
  }
  return [...groupBy(effects, (line) => line.execution)].flatMap(([id, lines]): Execution[] => {
    const start = lines.find((line) => line.what === 'started');
    const end = lines.find((line) => line.what !== 'started');
    if (!start) return [];
    const { jobId, taskId, pid, at: from } = start;
    const to = end?.at ?? gone.get(pid) ?? Infinity;
    return [
      { id, jobId, taskId, pid, from, to, finished: end?.what === 'finished', stopped: stopped.has(pid) },
    ];
  });
}

/** Compares what handlers did with what was accepted of it. */
export function checkExecutions(evidence: Evidence): Violation[] {
  const executions = executionsOf(evidence);
  const byTask = groupBy(executions, (one) => one.taskId);
  return [
    ...checkResults(evidence, executions),
    ...[...byTask].flatMap(([taskId, of]) => checkOverlap(taskId, of)),
    ...checkClaims(evidence, byTask),
    ...checkCanceled(evidence, executions),
  ];
}

function checkResults({ tasks }: Evidence, executions: Execution[]): Violation[] {
  const byId = new Map(executions.map((one) => [one.id, one]));
  return tasks.flatMap((task): Violation[] => {
    if (task.kind !== 'task' || task.status !== 'completed') return [];
    const execution = byId.get(task.execution ?? '');
    if (execution?.finished && execution.taskId === task.id) return [];
    return [{ rule: 'result-unknown', subject: task.id, detail: `the result names ${task.execution}` }];
  });
}

function checkOverlap(taskId: string, executions: Execution[]): Violation[] {
  const found: Violation[] = [];
  const free = executions.filter((one) => !one.stopped).toSorted((a, b) => a.from - b.from);
  for (const [index, later] of free.entries()) {
    const earlier = free.slice(0, index).find((one) => one.to > later.from);
    if (!earlier) continue;
    const detail = `process ${later.pid} began while process ${earlier.pid} was at it`;
    found.push({ rule: 'overlap', subject: taskId, detail });
  }
  return found;
}

function checkClaims({ events, tasks, workers }: Evidence, byTask: Map<string, Execution[]>): Violation[] {
  const pids = new Map(workers.map((worker) => [`worker:${worker.id}`, worker.pid]));
  const claims = new Map<string, number>();
  for (const event of events.filter(({ kind }) => kind === 'tasks.active')) {
    for (const { id } of event.tasks) {
      const key = `${id} ${pids.get(event.actor)}`;
      claims.set(key, (claims.get(key) ?? 0) + 1);
    }
  }
  const known = new Set(tasks.map((task) => task.id));
  return [...byTask].flatMap(([taskId, of]): Violation[] => {
    if (!known.has(taskId)) return [{ rule: 'phantom', subject: taskId, detail: 'no task has this id' }];
    return [...groupBy(of, (one) => String(one.pid))].flatMap(([pid, mine]): Violation[] => {
      const granted = claims.get(`${taskId} ${pid}`) ?? 0;
      if (mine.length <= granted) return [];
      const detail = `process ${pid} ran it ${mine.length} times and claimed it ${granted} times`;
      return [{ rule: 'unclaimed', subject: taskId, detail }];
    });
  });
}

function checkCanceled({ history }: Evidence, executions: Execution[]): Violation[] {
  const canceled = new Map<string, number>();
  for (const line of history) {
    if (line.kind === 'cancel' && line.status === 200 && !canceled.has(line.jobId))
      canceled.set(line.jobId, line.at);
  }
  return executions.flatMap((one): Violation[] => {
    const lateMs = one.from - (canceled.get(one.jobId) ?? Infinity);
    if (one.stopped || lateMs <= LATE_START_MS) return [];
    return [{ rule: 'ran-canceled', subject: one.taskId, detail: `it began ${lateMs} ms after the answer` }];
  });
}
