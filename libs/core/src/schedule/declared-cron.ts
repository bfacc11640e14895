import { CronTimes } from './cron-times.js';
import type { DeclaredCron } from './schedule.js';
import { isTimeZone } from './zone.js';

/**
 * Checks of declared schedules what can be said without the other job types; the rest is checked when a worker starts.
 * @throws {TypeError} naming the job type and the schedule
 */
export function checkedCrons(type: string, crons: DeclaredCron[]): DeclaredCron[] {
  for (const { name, cron, timezone = 'UTC' } of crons) {
    const refuse = (message: string, cause?: unknown) => {
      throw new TypeError(`Job type "${type}", schedule "${name}": ${message}`, { cause });
    };
    try {
      if (cron !== undefined) CronTimes.parse(cron);
    } catch (error) {
      refuse((error as Error).message, error);
    }
    if (!isTimeZone(timezone)) refuse(`there is no time zone "${timezone}".`);
  }
  return crons;
}
