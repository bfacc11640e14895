import { expect, test } from '@jest/globals';
import type { JobNotice } from '@app/core';
import { digestOf, mailOf } from './mail-texts.js';

const NOTICE: JobNotice = {
  jobId: '019a0000-0000-7000-8000-000000000000',
  type: 'files.ingest',
  status: 'failed',
  generation: 1,
  error: {
    code: 'handler_error',
    message: 'no <script>alert("x")</script> & more\u0000\u001b[31m\r\nline two',
  },
  labels: { a: '"><img src=x>' },
  finishedAt: '2026-12-01T12:00:00.000Z',
};

test('what users wrote is escaped in HTML, and shows no control characters', () => {
  const { html, text, subject } = mailOf('o<w>ner', NOTICE, 'https://jobs.example.com/');
  expect(html).not.toMatch(/<script>alert|<img|o<w>ner/);
  expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more');
  expect(html).toContain('href="https://jobs.example.com/jobs/019a0000-0000-7000-8000-000000000000"');
  expect(text).toContain('handler_error: no <script>');
  for (const part of [html, text, subject]) expect(part.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  expect(subject).toBe('Job failed: files.ingest (019a0000-0000-7000-8000-000000000000)');
});

test('a long error is cut, and there is no link without an address of the service', () => {
  const { text, html } = mailOf(
    'ann',
    { ...NOTICE, error: { code: 'x', message: 'y'.repeat(100_000) } },
    undefined,
  );
  expect(text.length).toBeLessThan(3000);
  expect(text + html).not.toMatch(/https?:/);
});

test('a digest counts what it does not list, and its subject is one line', () => {
  const { subject, text, html } = digestOf(
    'ann\r\nBcc: bob',
    { count: 70, failed: 70, notices: Array.from({ length: 50 }, () => NOTICE) },
    undefined,
  );
  expect(subject).toBe('70 more jobs of ann Bcc: bob failed');
  expect(text).toContain('… and 20 more.');
  expect(html.match(/<li>/g)).toHaveLength(50);
  expect(html).not.toContain('<script>');
});

test('a digest says that jobs have failed only if all of them have, also those that it does not list', () => {
  const digest = { count: 70, failed: 69, notices: Array.from({ length: 50 }, () => NOTICE) };
  expect(digestOf('ann', digest, undefined).subject).toBe('70 more jobs of ann ended');
});
