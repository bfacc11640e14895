import { Inject, Injectable } from '@nestjs/common';
import { cleanText } from '@app/core';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { AdmissionPoke } from './queue/admission-poke.js';
import { JobTypeRegistry } from './registry/job-type-registry.js';
import { DEFAULT_QUEUE } from './store/dispatch.js';
import { listPauses, type Pause, pauseWork, resumeWork } from './store/pauses.js';

/** Pauses and resumes what may begin: types and tags. They are kept in Postgres, so that a deployment changes nothing. */
@Injectable()
export class Pauses {
  constructor(
    private readonly database: Database,
    private readonly types: JobTypeRegistry,
    private readonly poke: AdmissionPoke,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** The pauses that hold now. */
  list(): Promise<Pause[]> {
    return listPauses(this.database.main);
  }

  /** Whether there is such a type, or a job type that has such a tag. */
  knows(kind: Pause['kind'], name: string): boolean {
    return (kind === 'type' ? this.types.names : [DEFAULT_QUEUE, ...this.types.tags]).includes(name);
  }

  /** From the commit on nothing of it begins; what runs goes on. A repeat changes the reason and the end. */
  async pause(pause: Omit<Pause, 'since'>): Promise<Pause> {
    const paused = await pauseWork(this.database.main, pause);
    this.logger.info({ ...paused }, 'work was paused');
    return paused;
  }

  /** What waits begins in its turn. False when it was not paused. */
  async resume(kind: Pause['kind'], name: string, by: { actor: string }): Promise<boolean> {
    // Types and tags that are gone can be resumed too, but nothing that never was one.
    if (cleanText(name) !== name) return false;
    const resumed = await resumeWork(this.database.main, kind, name);
    if (resumed) this.poke.poke();
    if (resumed) this.logger.info({ kind, name, ...by }, 'work was resumed');
    return resumed;
  }
}
