/** The pauses of a loop, which can be cut short. What wakes it while it works makes its next pause none. */
export class Rest {
  private woken = false;
  private resume: (() => void) | undefined;

  /** Ends the pause, or leaves out the next one. */
  wake(): void {
    this.woken = true;
    this.resume?.();
  }

  /** Pauses for so many milliseconds; for `Infinity`, until it is woken. */
  async take(ms: number): Promise<void> {
    if (!this.woken) await this.pause(ms);
    this.woken = false;
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.ceil(ms)) : undefined;
      this.resume = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
