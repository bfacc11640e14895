import { hostname } from 'node:os';
import { Injectable } from '@nestjs/common';
import { newId } from '../store/new-id.js';

/** Who this process is to the others. A new life is a new worker. */
@Injectable()
export class WorkerIdentity {
  readonly id = newId();
  readonly host = hostname();
  /** How the ledger names it. */
  readonly actor = `worker:${this.id}`;
}
