import { execFile, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { poll } from './wait.js';

const run = promisify(execFile);
const started = new Set<ChildProcess>();

/** Remembers a child for endAllStarted, as long as it runs. */
export function remember(child: ChildProcess): ChildProcess {
  started.add(child);
  return child.once('exit', () => started.delete(child));
}

/** Asks every child that still runs to end, without waiting: the last thing that a process does which cannot wait. */
export function endAllStarted(): void {
  // To Postgres this is the "fast" shutdown, and the others take it for an end as well.
  for (const { pid } of started) if (pid !== undefined) send(pid, 'SIGINT');
}

/** Whether a process of this id exists, also one of another user. A zombie does not count: it holds nothing. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) Z /.test(stat);
}

/** The command line of a process, words separated by spaces; empty when it is gone or hidden. */
export async function commandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const raw = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return raw.replaceAll('\0', ' ').trim();
  }
  const found = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return found.stdout.trim();
}

/**
 * Whether the process is the one that we once started: ids are reused, so the number alone proves nothing.
 * Every mark must stand in its command line.
 */
export async function isOurs(pid: number, marks: string[]): Promise<boolean> {
  if (!(await isAlive(pid))) return false;
  const line = await commandLine(pid);
  return marks.every((mark) => line.includes(mark));
}

/**
 * When a process began, as a text that no other process of this id has or will have; undefined when it is gone. For
 * programs whose command line is no mark: in a container the same one has the same id again and again.
 */
export async function startMark(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
    // The name, in brackets, may hold blanks; the start stands twenty words behind it.
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return start && `${boot.trim()} ${start}`;
  }
  const found = await run('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return found.stdout.trim() || undefined;
}

/** Asks a process by signal to end, waits, and kills it when it does not; by id, never by name. */
export async function endProcess(pid: number, signal: NodeJS.Signals, patience = 10_000): Promise<void> {
  if (!send(pid, signal)) return;
  const gone = async () => !(await isAlive(pid));
  if (await poll(gone, { timeout: patience })) return;
  send(pid, 'SIGKILL');
  await poll(gone, { timeout: 5_000 });
}

/** As endProcess, for a child: waits for its exit event, so that nothing of it is left to reap. */
export async function endChild(
  child: ChildProcess,
  signal: NodeJS.Signals,
  patience?: number,
): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  await endProcess(child.pid, signal, patience);
  if (!hasEnded(child)) await exited;
}

/** Whether the child has exited or was never born. */
export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
