import {
  isFinalJobStatus,
  isFinalTaskStatus,
  JOB_STATUSES,
  JOB_TRANSITIONS,
  type JobEvent,
  type JobStatus,
  TASK_STATUSES,
  TASK_TRANSITIONS,
  type TaskEvent,
  type TaskStatus,
} from '@app/core';

/** How the page is made again; also the line that a stale page is answered with. */
export const COMMAND = 'node --import @swc-node/register/esm-register scripts/docs/main.ts';

/** A state machine as libs/core has it, with a sentence for each of its states and events. */
interface Machine<S extends string, E extends string> {
  statuses: readonly S[];
  transitions: Record<E, Partial<Record<S, S>>>;
  /** The states in which one is made. */
  first: readonly S[];
  isFinal(status: S): boolean;
  ofStatus: Record<S, string>;
  ofEvent: Record<E, string>;
}

const JOB: Machine<JobStatus, JobEvent> = {
  statuses: JOB_STATUSES,
  transitions: JOB_TRANSITIONS,
  first: ['scheduled', 'queued'],
  isFinal: isFinalJobStatus,
  ofStatus: {
    scheduled: 'Accepted, and due at its `runAt`.',
    queued: 'Accepted and recorded; no task has been claimed yet.',
    active: 'At least one task, or the plan, has been claimed.',
    finalizing: 'All tasks have ended; the result is made and the Catalog is told. The point of no return.',
    completed: 'Everything is done. The only state with a progress of 100.',
    failed: 'It ended with an error, which the job shows.',
    canceled: 'Somebody canceled it. The cancel receipt tells how running attempts took it.',
  },
  ofEvent: {
    due: 'Its time has come.',
    start: 'The first claim of a task or of the plan.',
    finalize: 'The last task ended well, and a result is to be made or the Catalog to be told.',
    complete: 'The last task ended well and nothing is left, or the finalization is done.',
    fail: 'A task failed for good, the plan or the finalization failed, or a deadline has passed.',
    cancel: 'Somebody asked for it.',
    retry: 'Somebody asked for it; a new generation begins.',
    refinalize: 'As a retry, where all tasks are complete and only the finalization had failed.',
  },
};

const TASK: Machine<TaskStatus, TaskEvent> = {
  statuses: TASK_STATUSES,
  transitions: TASK_TRANSITIONS,
  first: ['queued'],
  isFinal: isFinalTaskStatus,
  ofStatus: {
    queued: 'Waits for its first attempt, or was taken back from a worker that died.',
    active: 'A worker holds the claim and its lease.',
    retrying: 'An attempt failed; the next one waits for its backoff.',
    paused: 'A stopping worker handed it back, or one without room for its process. Any may claim it.',
    completed: 'Its result is stored.',
    failed: 'It failed for good: no attempts are left, or the handler said so.',
    canceled: 'Its job ended before it did.',
  },
  ofEvent: {
    claim: 'A worker takes it; fence and attempt rise by one.',
    complete: 'The handler returned.',
    fail: 'The attempt failed and there is none after it.',
    retry: 'The attempt failed and another one follows.',
    'hand-back': 'The worker stops, or has no room for it; nothing is charged.',
    expire: 'The lease of a resumable task ended; nothing is charged.',
    cancel: 'The job was canceled or failed; the fence rises.',
    reopen: 'The job is retried; the attempts are counted anew.',
  },
};

/** The text of docs/state-machine.md. Equal for equal tables, and as prettier would have it. */
export function stateMachinePage(): string {
  return `# States of jobs and tasks

This page is printed from \`JOB_TRANSITIONS\` and \`TASK_TRANSITIONS\` of \`libs/core\`, and a test fails when it is stale. Do not
edit it; run \`${COMMAND}\`.

## Jobs

${diagram(jobDiagram())}

${tablesOf(JOB)}

A cancel of a job in \`finalizing\`, \`completed\` or \`failed\` is refused (409); of one in \`canceled\` it is answered as the first
time.

## Tasks

${diagram(taskDiagram())}

${tablesOf(TASK)}

The plan of a job is a hidden task with these same states. It is not counted and not shown.
`;
}

/** The states of a job as lines of a Mermaid diagram; the README shows them too. */
export function jobDiagram(): string {
  return linesOf(JOB);
}

/** The states of a task as lines of a Mermaid diagram. */
export function taskDiagram(): string {
  return linesOf(TASK);
}

function linesOf<S extends string, E extends string>(machine: Machine<S, E>): string {
  const arrows = machine.statuses.flatMap((from) =>
    [...moves(machine, from)].map(([to, events]) => `  ${from} --> ${to}: ${events.join(', ')}`),
  );
  const ends = machine.statuses.filter((status) => machine.isFinal(status));
  return [
    'stateDiagram-v2',
    ...machine.first.map((status) => `  [*] --> ${status}`),
    ...arrows,
    ...ends.map((status) => `  ${status} --> [*]`),
  ].join('\n');
}

/** The states that follow one, each with the events that lead there. */
function moves<S extends string, E extends string>(machine: Machine<S, E>, from: S): Map<S, E[]> {
  const found = new Map<S, E[]>();
  for (const event of eventsOf(machine)) {
    const to = machine.transitions[event][from];
    if (to !== undefined) found.set(to, [...(found.get(to) ?? []), event]);
  }
  return found;
}

function tablesOf<S extends string, E extends string>(machine: Machine<S, E>): string {
  const states = machine.statuses.map((status) => [
    `\`${status}\``,
    machine.isFinal(status) ? 'yes' : '',
    machine.ofStatus[status],
  ]);
  const events = eventsOf(machine).map((event) => [
    `\`${event}\``,
    movesOf(machine, event),
    machine.ofEvent[event],
  ]);
  return `${table(['State', 'Final', 'Meaning'], states)}\n\n${table(['Event', 'From → to', 'When'], events)}`;
}

/** \`queued, active → canceled\`: the states from which an event leads to each state. */
function movesOf<S extends string, E extends string>(machine: Machine<S, E>, event: E): string {
  const targets = machine.statuses.filter((to) => sources(machine, event, to).length > 0);
  return targets.map((to) => `${sources(machine, event, to).map(code).join(', ')} → ${code(to)}`).join('; ');
}

function sources<S extends string, E extends string>(machine: Machine<S, E>, event: E, to: S): S[] {
  return machine.statuses.filter((from) => machine.transitions[event][from] === to);
}

function eventsOf<S extends string, E extends string>({ transitions }: Machine<S, E>): E[] {
  return Object.keys(transitions) as E[];
}

function code(text: string): string {
  return `\`${text}\``;
}

function diagram(lines: string): string {
  return `\`\`\`mermaid\n${lines}\n\`\`\``;
}

/** A table with columns of one width, as prettier aligns them. */
function table(heads: string[], rows: string[][]): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
