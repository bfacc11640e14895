import {
  InvalidJobError,
  MOST_RECIPIENTS,
  type Notify,
  NOTIFY_EVENTS,
  type NotifyEvent,
  type NotifyOptions,
} from '@app/core';
import type { Config } from '@app/platform/config/config.js';
import { isMailAddress } from '@app/platform/mail/mail-address.js';

/** What holds for jobs that say nothing, and whose type says nothing. */
export interface NotifyDefaults extends Notify {
  /** Whether this service sends mail at all. */
  mails: boolean;
}

/** The defaults by the settings. */
export function notifyDefaultsOf({
  SMTP_URL,
  MAIL_TO,
  NOTIFY_ON,
}: Pick<Config, 'SMTP_URL' | 'MAIL_TO' | 'NOTIFY_ON'>): NotifyDefaults {
  const on: NotifyEvent[] = NOTIFY_ON === 'completion' ? ['failed', 'completed'] : ['failed'];
  return { mails: SMTP_URL !== undefined, email: MAIL_TO ?? [], on };
}

/** Where the options are wrong; pointers are below `/notify`. */
export function notifyIssues({ email = [], on = [] }: NotifyOptions): { pointer: string; message: string }[] {
  const issues = email.flatMap((address, nth) =>
    isMailAddress(address)
      ? []
      : [{ pointer: `/notify/email/${nth}`, message: 'This is no plain mail address.' }],
  );
  if (email.length > MOST_RECIPIENTS)
    issues.push({ pointer: '/notify/email', message: `A job has at most ${MOST_RECIPIENTS} recipients.` });
  for (const [nth, event] of on.entries()) {
    if (!NOTIFY_EVENTS.includes(event))
      issues.push({ pointer: `/notify/on/${nth}`, message: `One of ${NOTIFY_EVENTS.join(', ')}.` });
  }
  return issues;
}

/**
 * Who is mailed of the end of a job: as the job says, or else its type, or else the service. Null: nobody.
 * @throws {InvalidJobError} when the job says something wrong, or wants mail where none is sent.
 */
export function checkNotify(
  given: NotifyOptions = {},
  ofType: NotifyOptions,
  defaults: NotifyDefaults,
): Notify | null {
  const issues = notifyIssues(given);
  if (!defaults.mails && (given.email?.length ?? 0) > 0)
    issues.push({ pointer: '/notify/email', message: 'This service sends no mail.' });
  if (issues.length > 0) throw new InvalidJobError(issues);
  const email = [...new Set(given.email ?? ofType.email ?? defaults.email)];
  const on = [...new Set(given.on ?? ofType.on ?? defaults.on)];
  return defaults.mails && email.length > 0 && on.length > 0 ? { email, on } : null;
}
