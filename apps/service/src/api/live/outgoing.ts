/** Below this it is worth to read more of what is to be sent. */
const ROOM = 64 * 1024;

/**
 * What waits to be sent to one listener. Who reads more slowly than things happen is not waited for: when more waits than
 * may, it is dropped, and comes back with its cursor. One event of any size may wait, be it as long as the job has tasks.
 */
export class Outgoing {
  private frames: string[] = [];
  private sent = 0;
  private size = 0;
  private roomy: (() => void)[] = [];

  /** @param most letters that may wait before anything is added */
  constructor(private readonly most: number) {}

  /** False when too much waits already; nothing was added then. */
  add(frames: string[]): boolean {
    if (this.size > this.most) return false;
    for (const frame of frames) {
      this.frames.push(frame);
      this.size += frame.length;
    }
    return true;
  }

  take(): string | undefined {
    const frame = this.frames[this.sent];
    if (frame === undefined) return undefined;
    this.size -= frame.length;
    this.sent++;
    if (this.sent === this.frames.length || this.sent > 1000) {
      this.frames = this.frames.slice(this.sent);
      this.sent = 0;
    }
    if (this.size <= ROOM) this.tellRoom();
    return frame;
  }

  /** Settles when there is room for more, or nobody will take anything any more. */
  async room(): Promise<void> {
    if (this.size > ROOM) await new Promise<void>((resolve) => this.roomy.push(resolve));
  }

  /** Forgets all that waits. */
  clear(): void {
    this.frames = [];
    this.sent = 0;
    this.size = 0;
    this.tellRoom();
  }

  private tellRoom(): void {
    for (const resolve of this.roomy.splice(0)) resolve();
  }
}
