import { Injectable } from '@nestjs/common';

/** Lets the syncer of this process know that a job waits for it, so that it need not wait for its next tick. */
@Injectable()
export class FinalizePoke {
  private listener: (() => void) | undefined;

  listen(listener: () => void): void {
    this.listener = listener;
  }

  poke(): void {
    this.listener?.();
  }
}
