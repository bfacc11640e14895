import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { isSandbox } from '@app/platform/config/sandbox-environment.js';
import { Database } from '@app/platform/prisma/database.js';
import { readWindows } from '../store/held-tasks.js';
import { TaskSender } from './task-sender.js';

/** How often it is asked how full the queues are: while tasks are sent, and at rest. */
const BUSY_MS = 25;
const REST_MS = 500;

/**
 * How many tasks may be sent right after they are accepted: as many as the windows of the queues leave room for, and
 * none while others wait for their turn. What it knows is a little old, which costs a task its turn at worst.
 */
@Injectable()
export class QueueRoom implements OnApplicationBootstrap, OnModuleDestroy {
  private room = new Map<string, number>();
  /** What was taken since the last look began, which has not seen it. */
  private taken = new Map<string, number>();
  /** When tasks of a queue were last held for want of room, by `performance.now()`. */
  private readonly heldAt = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private used = false;
  private stopped = false;

  constructor(
    private readonly database: Database,
    private readonly sender: TaskSender,
  ) {}

  onApplicationBootstrap(): void {
    // A process that runs one task for a worker accepts too little to ask for it.
    if (!isSandbox()) void this.watch();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** Takes room for tasks of a queue; answers for how many there is any. */
  take(queue: string, count: number): number {
    this.used = true;
    const room = this.sender.incarnation === '' ? 0 : (this.room.get(queue) ?? 0);
    const taken = Math.min(room, count);
    this.room.set(queue, room - taken);
    this.taken.set(queue, (this.taken.get(queue) ?? 0) + taken);
    // What is held has its turn before anything that comes later.
    if (taken < count) this.heldAt.set(queue, performance.now());
    return taken;
  }

  private async watch(): Promise<void> {
    this.used = false;
    this.taken = new Map();
    // Without an answer nothing is sent directly, and waits for its turn.
    const room = await this.look(performance.now()).catch(() => new Map<string, number>());
    this.room = new Map([...room].map(([name, free]) => [name, this.roomIn(name, free)]));
    if (!this.stopped) this.timer = setTimeout(() => void this.watch(), this.used ? BUSY_MS : REST_MS);
  }

  private async look(now: number): Promise<Map<string, number>> {
    // Nobody is to wait for a Redis that is away: nothing is sent directly then.
    if (this.sender.incarnation === '') return new Map();
    const windows = await readWindows(this.database.main);
    const waiting = await this.sender.depths(windows.map(({ name }) => name));
    return new Map(
      windows.map(({ name, window, backlogged, ageMs }) => {
        const passed = now - ageMs > (this.heldAt.get(name) ?? -Infinity);
        return [name, backlogged || !passed ? 0 : window - (waiting.get(name) ?? 0)];
      }),
    );
  }

  private roomIn(queue: string, free: number): number {
    return Math.max(0, free - (this.taken.get(queue) ?? 0));
  }
}
