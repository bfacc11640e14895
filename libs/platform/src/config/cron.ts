import { CronTime } from 'cron';

/** Whether this is a cron expression of five or six fields that is due at some time, by the rules of what runs it. */
export function isCron(text: string): boolean {
  if (!/^\S+( \S+){4,5}$/.test(text)) return false;
  try {
    new CronTime(text, 'UTC').sendAt();
    return true;
  } catch {
    // Its messages quote the expression.
    return false;
  }
}
