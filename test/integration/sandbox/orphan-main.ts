import { SandboxProcess } from '@app/engine/sandbox/sandbox-process.js';
import type { ClaimedTask } from '@app/engine/store/claim-tasks.js';

// A worker that is about to be killed: starts a process that boots or holds its thread, and tells who it is.
const child = new SandboxProcess({ entry: new URL('./sandbox-main.js', import.meta.url) });
if (process.argv[2] === 'boots') process.stdout.write(`${child.pid}\n`);
await child.ready;
child.onMessage = (message) => {
  if (message.kind === 'checkpoint') child.send({ kind: 'checkpointed', id: message.id });
  // It has said so as the last thing before it holds its thread.
  if (message.kind === 'log') process.stdout.write(`${child.pid}\n`);
};
const task: Partial<ClaimedTask> = { type: 'test.alone', kind: 'task', payload: { what: 'hold' } };
child.send({ kind: 'run', task: task as ClaimedTask });
