import { Injectable } from '@nestjs/common';

/** Whether this process is on its way out. */
@Injectable()
export class ServiceState {
  private going = false;

  get stopping(): boolean {
    return this.going;
  }

  /** From now on requests are sent away, and readiness says so. */
  stop(): void {
    this.going = true;
  }
}
