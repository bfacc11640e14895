import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Mailer } from '@app/platform/mail/mailer.js';
import { SmtpSink } from '../../support/smtp-sink.js';

let sink: SmtpSink;
let mailer: Mailer;

beforeAll(async () => {
  sink = await SmtpSink.start();
  mailer = new Mailer({ SMTP_URL: sink.url, MAIL_FROM: 'jobs@longhaul.example', MAIL_TIMEOUT: 20_000 });
});
afterEach(() => {
  sink.welcome = () => undefined;
  sink.accepts = () => undefined;
});
afterAll(async () => {
  mailer?.close();
  await sink?.stop();
});

const send = () =>
  mailer.send(
    { id: '1', to: 'ann@example.com', subject: 's', text: 't', html: 'h' },
    new AbortController().signal,
  );

test.each([550, 530, 451])(
  'a sender that is refused with %d is no recipient that is refused',
  async (code) => {
    sink.accepts = () => code;
    expect(await send()).toMatchObject({ kind: 'unsure', code });
  },
);

test('a recipient who is refused for good is, and one who is put off is not', async () => {
  sink.welcome = () => 550;
  expect(await send()).toMatchObject({ kind: 'refused', code: 550 });
  sink.welcome = () => 450;
  expect(await send()).toMatchObject({ kind: 'unsure', code: 450 });
  sink.welcome = () => undefined;
  expect(await send()).toEqual({ kind: 'sent', code: 250 });
});
