import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { Job } from '@app/core';

/**
 * Tags an answer with the state of its job; true when whoever asks has it already (`If-None-Match`), and gets 304.
 * The version tells every change but those of a cancel receipt, which is no part of the job's own history.
 */
export function isKnown(job: Job, known: string | undefined, reply: FastifyReply): boolean {
  const { jobId, generation, version, cancelReceipt } = job;
  const receipt = cancelReceipt ? `.${digest(JSON.stringify(cancelReceipt))}` : '';
  const tag = `"${jobId}.${generation}.${version}${receipt}"`;
  void reply.header('ETag', tag);
  const tags = (known ?? '').split(',').map((text) => text.trim().replace(/^W\//, ''));
  if (!tags.includes(tag) && !tags.includes('*')) return false;
  void reply.status(304);
  return true;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 12);
}
