import { Inject, Injectable } from '@nestjs/common';
import type { Worker } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { Database } from '@app/platform/prisma/database.js';
import type { Owner } from './store/owner.js';
import { findLiveWorkers } from './store/worker-records.js';

/** A worker that has given no sign for so many leases counts as dead. */
const LEASES = 2;

/** Shows who executes tasks, and what. */
@Injectable()
export class Workers {
  constructor(
    private readonly database: Database,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** The live workers, with the running tasks of one owner or of every one. */
  live(owner: Owner): Promise<Worker[]> {
    return findLiveWorkers(this.database.main, owner, LEASES * this.config.LEASE);
  }
}
