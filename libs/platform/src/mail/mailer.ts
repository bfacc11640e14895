import { createTransport } from 'nodemailer';
import type { Config } from '../config/config.js';
import { withinLimit } from '../outbound/within-limit.js';
import { addressOf } from './mail-address.js';

/** Messages on their way at a time in one process; each has a connection. */
export const MAILS_AT_ONCE = 4;
/** How much longer all of a message may take than one answer of the server. */
const WHOLE = 3;

/** A message to one recipient. */
export interface Mail {
  /** The same each time that it is sent: names the message, so that a repeat can be known. */
  id: string;
  to: string;
  subject: string;
  text: string;
  html: string;
}

/**
 * `sent`: the server has taken it. `refused`: it will not take it for this recipient, ever. `unsure`: it has not taken it
 * now, or nobody knows.
 */
export interface MailOutcome {
  kind: 'sent' | 'refused' | 'unsure';
  /** The reply code of the server, where there was one. */
  code?: number;
  reason?: string;
}

/** What is known of an error of the library. */
interface SmtpError extends Error {
  code?: string;
  responseCode?: number;
  /** What the server has answered to. */
  command?: string;
}

/** Sends mail through one SMTP server, over connections that are kept for a while. */
export class Mailer {
  private readonly transport;
  private readonly from: string;
  private readonly domain: string;
  private readonly limitMs: number;

  /** @throws {TypeError} when the settings name no server */
  constructor(config: Pick<Config, 'SMTP_URL' | 'MAIL_FROM' | 'MAIL_TIMEOUT'>) {
    const { SMTP_URL: url, MAIL_FROM: from, MAIL_TIMEOUT: timeout } = config;
    if (url === undefined || from === undefined) throw new TypeError('There is no SMTP server.');
    this.from = from;
    this.domain = addressOf(from).split('@')[1] ?? 'localhost';
    this.limitMs = timeout * WHOLE;
    this.transport = createTransport({
      url,
      pool: true,
      maxConnections: MAILS_AT_ONCE,
      maxMessages: 100,
      // Whether a message is sent again is decided where it is recorded.
      maxRequeues: 0,
      connectionTimeout: timeout,
      greetingTimeout: timeout,
      socketTimeout: timeout,
      dnsTimeout: timeout,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    // An idle connection that breaks is nobody's failure; without a listener it would end the process.
    this.transport.on('error', () => {});
  }

  /** Sends a message. Never rejects, and never takes longer than thrice MAIL_TIMEOUT. */
  async send({ id, to, subject, text, html }: Mail, stop: AbortSignal): Promise<MailOutcome> {
    try {
      await withinLimit(this.limitMs, stop, (signal) =>
        this.transport.sendMail({
          from: this.from,
          to,
          envelope: { from: addressOf(this.from), to: [to] },
          messageId: `<${id}@${this.domain}>`,
          subject,
          text,
          html,
          // Nobody's absence is told to us, and we answer to nobody.
          headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
          signal,
        }),
      );
      return { kind: 'sent', code: 250 };
    } catch (error) {
      return outcomeOf(error as SmtpError);
    }
  }

  close(): void {
    this.transport.close({ force: true });
  }
}

/**
 * Only what the server says of the recipient or of the whole message is final. A sender or a login that it refuses is a
 * matter of the settings, and can be put right.
 */
function outcomeOf({ code, responseCode, command, message }: SmtpError): MailOutcome {
  const final = command === 'RCPT TO' || (command === 'DATA' && code === 'EMESSAGE');
  return {
    kind: final && responseCode !== undefined && responseCode >= 500 ? 'refused' : 'unsure',
    ...(responseCode === undefined ? {} : { code: responseCode }),
    reason: message,
  };
}
