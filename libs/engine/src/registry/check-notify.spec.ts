import { expect, test } from '@jest/globals';
import { InvalidJobError, type NotifyOptions } from '@app/core';
import { checkNotify, notifyDefaultsOf } from './check-notify.js';

const SERVICE = notifyDefaultsOf({ SMTP_URL: 'smtp://x', MAIL_TO: ['ops@x.org'], NOTIFY_ON: 'failure' });
const issues = (given: NotifyOptions, mails = true) => {
  try {
    checkNotify(given, {}, { ...SERVICE, mails });
    return [];
  } catch (error) {
    return (error as InvalidJobError).issues.map(({ pointer }) => pointer);
  }
};

test('a job says who is mailed, or else its type, or else the service, each part apart', () => {
  expect(checkNotify(undefined, {}, SERVICE)).toEqual({ email: ['ops@x.org'], on: ['failed'] });
  expect(checkNotify({ on: ['completed'] }, { email: ['t@x.org'] }, SERVICE)).toEqual({
    email: ['t@x.org'],
    on: ['completed'],
  });
  expect(
    checkNotify(
      { email: ['j@x.org', 'j@x.org'] },
      { email: ['t@x.org'], on: ['failed', 'completed'] },
      SERVICE,
    ),
  ).toEqual({
    email: ['j@x.org'],
    on: ['failed', 'completed'],
  });
  expect(notifyDefaultsOf({ SMTP_URL: 'smtp://x', MAIL_TO: undefined, NOTIFY_ON: 'completion' })).toEqual({
    mails: true,
    email: [],
    on: ['failed', 'completed'],
  });
});

test('nobody is mailed where a job says so, where nobody is named, and where no mail is sent', () => {
  expect(checkNotify({ email: [] }, { email: ['t@x.org'] }, SERVICE)).toBeNull();
  expect(checkNotify(undefined, {}, { ...SERVICE, email: [] })).toBeNull();
  expect(checkNotify(undefined, { email: ['t@x.org'] }, { ...SERVICE, mails: false })).toBeNull();
});

test('what is wrong is refused at its place', () => {
  expect(issues({ email: ['a@x.org', 'a@x.org\r\nBcc: b@x.org'] })).toEqual(['/notify/email/1']);
  expect(issues({ email: Array.from({ length: 11 }, (_, nth) => `a${nth}@x.org`) })).toEqual([
    '/notify/email',
  ]);
  expect(issues({ on: ['canceled' as never] })).toEqual(['/notify/on/0']);
  expect(issues({ email: ['a@x.org'] }, false)).toEqual(['/notify/email']);
});
