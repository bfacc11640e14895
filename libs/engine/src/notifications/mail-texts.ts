import type { JobNotice } from '@app/core';
import type { Mail } from '@app/platform/mail/mailer.js';

/** Characters of an error in a mail; all of it stands in the job. */
const LONGEST_ERROR = 2000;

type Texts = Pick<Mail, 'subject' | 'text' | 'html'>;

/** A mail about the end of one job. */
export function mailOf(ownerId: string, notice: JobNotice, publicUrl: string | undefined): Texts {
  const { type, status, finishedAt, jobId } = notice;
  const labels = Object.entries(notice.labels).map(([key, value]) => `${key}=${value}`);
  const rows: [string, string][] = [
    ['Job', jobId],
    ['Type', type],
    ['Owner', ownerId],
    ...(labels.length === 0 ? [] : [['Labels', labels.join(', ')] as [string, string]]),
    [status === 'failed' ? 'Failed at' : 'Completed at', finishedAt],
    ...(notice.error ? [['Why', errorOf(notice)] as [string, string]] : []),
  ];
  const link = linkTo(notice, publicUrl);
  const title = `Job ${status}: ${line(type)}`;
  return {
    subject: `${title} (${jobId})`,
    text: [
      title,
      '',
      ...rows.map(([name, value]) => `${name}: ${clean(value)}`),
      ...(link ? ['', link] : []),
      '',
    ].join('\n'),
    html: page(
      title,
      `<table>${rows.map(([name, value]) => `<tr><th align="left" valign="top">${name}</th><td style="white-space:pre-wrap">${escape(clean(value))}</td></tr>`).join('')}</table>` +
        (link ? `<p><a href="${escape(link)}">Look at the job</a></p>` : ''),
    ),
  };
}

/** A mail about jobs for which single mails would have been too many. */
export function digestOf(
  ownerId: string,
  { count, failed, notices }: { count: number; failed: number; notices: JobNotice[] },
  publicUrl: string | undefined,
): Texts {
  const what = failed === count ? 'failed' : 'ended';
  const title = `${count} more jobs of ${line(ownerId)} ${what}`;
  const about = 'They came too fast for a mail each.';
  const rest = count > notices.length ? `… and ${count - notices.length} more.` : '';
  const lines = notices.map((notice) => ({
    told: `${notice.finishedAt} ${notice.status} ${clean(notice.type)} ${notice.jobId}${notice.error ? `: ${line(errorOf(notice)).slice(0, 200)}` : ''}`,
    link: linkTo(notice, publicUrl),
  }));
  return {
    subject: title,
    text: [
      title,
      about,
      '',
      ...lines.flatMap(({ told, link }) => (link ? [told, `  ${link}`] : [told])),
      rest,
      '',
    ].join('\n'),
    html: page(
      title,
      `<p>${about}</p><ul>${lines.map(({ told, link }) => `<li>${link ? `<a href="${escape(link)}">${escape(told)}</a>` : escape(told)}</li>`).join('')}</ul><p>${rest}</p>`,
    ),
  };
}

function errorOf({ error }: JobNotice): string {
  const text = `${error?.code}: ${error?.message}`;
  return text.length > LONGEST_ERROR ? `${text.slice(0, LONGEST_ERROR)}…` : text;
}

function linkTo({ jobId }: JobNotice, publicUrl: string | undefined): string | undefined {
  return publicUrl && `${publicUrl.replace(/\/$/, '')}/jobs/${jobId}`;
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head><body><h1 style="font-size:1.2em">${escape(title)}</h1>${body}</body></html>`;
}

/** Texts of users: without control characters but the ends of lines. */
function clean(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replaceAll(/[^\P{Cc}\n\t]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, ' ');
}

/** In one line, as a subject wants it. */
function line(text: string): string {
  return clean(text).replaceAll(/\s+/g, ' ').trim();
}

function escape(text: string): string {
  const signs: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replaceAll(/[&<>"']/g, (sign) => signs[sign] ?? '');
}
