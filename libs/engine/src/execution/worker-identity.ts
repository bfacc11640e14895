import { hostname } from 'node:os';
import { Injectable } from '@nestjs/common';
import { v7 } from 'uuid';

/** Who this process is to the others. A new life is a new worker. */
@Injectable()
export class WorkerIdentity {
  readonly id = v7();
  readonly host = hostname();
  /** How the ledger names it. */
  readonly actor = `worker:${this.id}`;
}
