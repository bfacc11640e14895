/** Set in a process that a worker has started to run one task. Internal: nobody else sets it. */
const MARK = 'LONGHAUL_SANDBOX';

/** Whether this process was started by a worker to run one task. */
export function isSandbox(env: Record<string, string | undefined> = process.env): boolean {
  return env[MARK] === '1';
}

/** The environment of such a process: that of this one, and what is given besides. */
export function sandboxEnvironment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { ...process.env, ...more, [MARK]: '1' };
}
