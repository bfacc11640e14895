import { type ChildProcess, fork } from 'node:child_process';
import { sandboxEnvironment } from '@app/platform/config/sandbox-environment.js';
import type { FromSandbox, ToSandbox } from './sandbox-messages.js';

/** How a process is started that runs one task. */
export interface SandboxOptions {
  /**
   * The file that such a process starts with, which calls `serveSandbox`. Default: the file that this process was
   * started with.
   */
  entry?: URL | string;
  /** Arguments of Node; default: those of this process. */
  execArgv?: string[];
}

/** Its start takes a second at most on an idle machine; longer than this, and it does not start at all. */
const START_MS = 60_000;
/** How long it may take to close its connections when it has answered. */
const CLOSE_MS = 5000;

/** A process that could not begin its task. */
export class SandboxStartError extends Error {
  override readonly name = 'SandboxStartError';
}

/** A process that runs one task, seen from the worker that has started it. */
export class SandboxProcess {
  /** Settles when it has booted; rejects with {@link SandboxStartError} when it cannot. */
  readonly ready: Promise<void>;
  /** How it ended, such as `signal SIGKILL` or `exit code 1`; never rejects. */
  readonly exited: Promise<string>;
  /** What it says once it is ready. */
  onMessage: (message: FromSandbox) => void = () => {};
  private readonly child: ChildProcess;
  private gone = false;

  /**
   * @param settings of this process, as far as they are not in its environment
   * @throws when the operating system refuses another process.
   */
  constructor(
    { entry = process.argv[1] ?? '', execArgv }: SandboxOptions,
    settings: Record<string, string> = {},
  ) {
    this.child = fork(entry, {
      serialization: 'advanced',
      // A signal to the group of processes, such as Ctrl-C, is for the worker: it decides what becomes of the task.
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: sandboxEnvironment(settings),
      ...(execArgv ? { execArgv } : {}),
    });
    this.exited = new Promise((resolve) => {
      const end = (how: string) => {
        this.gone = true;
        resolve(how);
      };
      this.child.once('error', (error) => this.child.pid === undefined && end(error.message));
      // Not `exit`: what it has said before its end is read first.
      this.child.once('close', (code, signal) => end(signal ? `signal ${signal}` : `exit code ${code}`));
    });
    this.ready = new Promise((resolve, reject) => {
      const fail = (why: string) =>
        reject(new SandboxStartError(`The process for this task could not start: ${why}`));
      const late = setTimeout(() => {
        fail('it was not ready in time. Does the file that it starts with call serveSandbox?');
        void this.kill();
      }, START_MS);
      this.child.on('message', (message: FromSandbox) => {
        if (message.kind === 'ready') {
          clearTimeout(late);
          resolve();
        } else if (message.kind === 'unbootable') fail(message.message);
        else this.onMessage(message);
      });
      void this.exited.then((how) => fail(`${how}. Its log says why.`)).finally(() => clearTimeout(late));
    });
    // Whoever waits for it hears of it; a process that is killed before has nobody.
    this.ready.catch(() => {});
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Says something to it; what it does not hear any more is lost. */
  send(message: ToSandbox): void {
    if (this.child.connected) this.child.send(message, () => {});
  }

  /** Ends it now, and waits until it is gone. */
  async kill(): Promise<void> {
    if (!this.gone) this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Waits until it is gone, but not for long: it has answered, and has only to close what it has opened. */
  async close(): Promise<void> {
    const late = setTimeout(() => void this.kill(), CLOSE_MS);
    await this.exited;
    clearTimeout(late);
  }
}
