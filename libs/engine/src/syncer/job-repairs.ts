import { Inject, Injectable } from '@nestjs/common';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { isDisconnect } from '@app/platform/prisma/sql-errors.js';
import { nextOpenJob, repairJobs } from '../store/repair-jobs.js';

/** Open jobs that are compared with their tasks at a time. */
const PAGE = 50;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Goes through the open jobs, a page at a time and round again, and mends what has drifted from the tasks. A page that
 * fails is halved until the job stands alone that cannot be repaired, which is then passed by.
 */
@Injectable()
export class JobRepairs {
  private after = FIRST;
  private size = PAGE;

  constructor(
    private readonly database: Database,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** The next page. Rejects when it failed; the one after that is another one. */
  async run(): Promise<void> {
    try {
      const { next, drifted, orphans } = await repairJobs(this.database.main, this.after, this.size);
      this.after = next ?? FIRST;
      this.size = Math.min(PAGE, 2 * this.size);
      if (drifted + orphans > 0) this.logger.warn({ drifted, orphans }, 'jobs had drifted and were mended');
    } catch (error) {
      // Nothing is said of the page.
      if (isDisconnect(error)) throw error;
      if (this.size === 1) await this.passBy(error as Error);
      else this.size = Math.floor(this.size / 2);
      throw error;
    }
  }

  private async passBy({ message }: Error): Promise<void> {
    const jobId = await nextOpenJob(this.database.main, this.after);
    this.after = jobId ?? FIRST;
    this.logger.warn({ jobId, reason: message }, 'a job cannot be repaired and is passed by');
  }
}
