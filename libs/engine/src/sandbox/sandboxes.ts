import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import type { RunningTask } from '../execution/running-tasks.js';
import { endBackends } from '../store/sandbox-backends.js';
import { Places } from './places.js';
import { type SandboxOptions, SandboxProcess, SandboxStartError } from './sandbox-process.js';
import { SandboxedAttempt } from './sandboxed-attempt.js';

/** Injection token of how such processes are started. */
export const SANDBOX = Symbol('SANDBOX');

/** The processes of this worker that run one task each; at most `MAX_SANDBOXES` at a time. */
@Injectable()
export class Sandboxes {
  private readonly places: Places;
  private attempts = 0;
  private readonly processes = new Set<SandboxProcess>();
  /** Called when there is room for one more attempt. */
  onRoom: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly aborts: AttemptAborts,
    private readonly metrics: EngineMetrics,
    @Inject(SANDBOX) private readonly options: SandboxOptions,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.places = new Places(config.MAX_SANDBOXES);
  }

  /** Whether one more attempt finds a place. */
  get hasRoom(): boolean {
    return this.attempts < this.config.MAX_SANDBOXES;
  }

  /**
   * Lets an attempt in, or answers undefined when there is no room: who waited here would keep a slot of the worker for as
   * long as the others run. The returned function says that it has ended, once however often it is called. Its process
   * may take a little longer, and the next one waits for that.
   */
  enter(): (() => void) | undefined {
    if (!this.hasRoom) return undefined;
    this.attempts++;
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.attempts--;
      this.onRoom();
    };
  }

  /** An attempt in a process of its own, which is started when the attempt is run. */
  open(running: RunningTask): SandboxedAttempt {
    return new SandboxedAttempt(running, {
      start: (signal) => this.start(signal),
      cleanUp: () => this.cleanUp(running),
      lose: () => this.aborts.abort(running, 'lease-lost'),
    });
  }

  /** Ends all of them at once: the worker stops. */
  killAll(): void {
    for (const process of this.processes) void process.kill();
  }

  private async start(signal: AbortSignal): Promise<SandboxProcess> {
    const release = await this.place(signal);
    const process = this.fork(release);
    try {
      await Promise.race([process.ready, abortOf(signal)]);
      return process;
    } catch (error) {
      await process.kill();
      throw error;
    }
  }

  /** A place for one more process; given back at once when the attempt is asked to stop before. */
  private async place(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const waiting = this.places.acquire();
    try {
      return await Promise.race([waiting, abortOf(signal)]);
    } catch (error) {
      void waiting.then((release) => release());
      throw error;
    }
  }

  private fork(release: () => void): SandboxProcess {
    let process: SandboxProcess;
    try {
      process = new SandboxProcess(this.options, this.config.given);
    } catch (error) {
      release();
      throw new SandboxStartError(`The process for this task could not start: ${(error as Error).message}`);
    }
    this.processes.add(process);
    this.metrics.sandboxes.inc();
    void process.exited.finally(() => {
      this.processes.delete(process);
      this.metrics.sandboxes.dec();
      release();
    });
    return process;
  }

  private async cleanUp({ task }: RunningTask): Promise<void> {
    await endBackends(this.database.main, task).catch((error: Error) =>
      this.logger.warn({ taskId: task.taskId, reason: error.message }, 'transactions were not ended'),
    );
  }
}

/** Rejects when the signal is raised. */
function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  );
}
