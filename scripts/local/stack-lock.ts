import { link, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isOurs, startMark } from './processes.js';
import { LocalStackError } from './types.js';

/** That this process, and no other, runs a stack on a folder. */
export interface StackLock {
  /** Whether an earlier owner died without giving the lock back; its servers may still run. */
  inherited: boolean;
  /** To be told once what the earlier owner left has been cleared away. */
  settled(): Promise<void>;
  /** Gives the lock back. */
  release(): Promise<void>;
}

interface Owner {
  pid: number;
  started: string;
}

/** Takes the lock of a folder that exists, also from an owner that is dead; refuses when the owner lives. */
export async function takeStackLock(dir: string): Promise<StackLock> {
  const file = join(dir, 'stack.lock');
  const mine = JSON.stringify({ pid: process.pid, started: (await startMark(process.pid)) ?? '' });
  while (!(await created(file, mine))) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    // Given back between the two looks.
    if (text === undefined) continue;
    const owner = await livingOwner(text);
    if (owner) {
      throw new LocalStackError(
        `Another Longhaul (process ${owner.pid}) runs on ${dir}: stop it first, or choose another folder with LONGHAUL_DIR.`,
      );
    }
    await setAside(file, text, mine);
  }
  // The dead owner's lock stays beside ours until its servers have ended: if we die before that, the next one knows.
  const inherited = (await readFile(asideOf(file), 'utf8').catch(() => undefined)) !== undefined;
  return {
    inherited,
    settled: () => rm(asideOf(file), { force: true }),
    release: async () => {
      if ((await readFile(file, 'utf8').catch(() => '')) === mine) await rm(file, { force: true });
    },
  };
}

/** Makes the file with its whole content, in one step: nobody ever reads half of it. */
async function created(file: string, content: string): Promise<boolean> {
  const draft = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  await writeFile(draft, content, { mode: 0o600 });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    await unlink(draft);
  }
}

/**
 * Moves a dead owner's lock aside. Of several takers one at a time may do so, and looks again first: otherwise a slow
 * one would move the lock that a quick one has just made.
 */
async function setAside(file: string, expected: string, mine: string): Promise<void> {
  const guard = `${file}.taking`;
  if (await created(guard, mine)) {
    try {
      if ((await readFile(file, 'utf8').catch(() => '')) === expected) await rename(file, asideOf(file));
    } finally {
      await rm(guard, { force: true });
    }
    return;
  }
  const text = await readFile(guard, 'utf8').catch(() => undefined);
  // A taker that died at this very moment; a living one needs a moment more.
  if (text !== undefined && !(await livingOwner(text))) await rm(guard, { force: true });
  else await delay(10);
}

function asideOf(file: string): string {
  return `${file}.old`;
}

async function livingOwner(text: string): Promise<Owner | undefined> {
  const owner = parsed(text);
  if (!owner || !(await isOurs(owner.pid, []))) return undefined;
  const started = await startMark(owner.pid);
  // A system may hide other users' processes: what cannot be told apart is taken for the owner.
  return !started || !owner.started || started === owner.started ? owner : undefined;
}

function parsed(text: string): Owner | undefined {
  try {
    const { pid = 0, started } = JSON.parse(text) as Partial<Owner>;
    return Number.isInteger(pid) && pid > 0 && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}
