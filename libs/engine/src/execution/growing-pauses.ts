/** Tasks of which it is remembered how often they were turned away. */
const REMEMBERED = 10_000;

/** How long to wait before a task is offered again, in milliseconds: twice as long each time, up to a bound. */
export class GrowingPauses {
  private readonly times = new Map<string, number>();

  constructor(private readonly limits: { first: number; most: number }) {}

  has(taskId: string): boolean {
    return this.times.has(taskId);
  }

  /** The pause after one more time. */
  next(taskId: string): number {
    const before = this.times.get(taskId) ?? 0;
    if (this.times.size >= REMEMBERED) this.times.clear();
    this.times.set(taskId, before + 1);
    return Math.min(this.limits.first * 2 ** before, this.limits.most);
  }

  forget(taskId: string): void {
    this.times.delete(taskId);
  }
}
