import type { JobInput } from '@app/core';
import type { z } from 'zod';
import { Job, JobPage, JobProgress, ProblemAnswer } from './api-answers.js';
import { ApiError, UnexpectedAnswerError, UnreachableError } from './api-errors.js';

const SLOWEST_ANSWER_MS = 15_000;
/** Failures to connect: nothing of the request has left. */
const NEVER_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/;

interface Request {
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/**
 * Speaks the API of a Longhaul service. Everything throws an ApiError when the service refuses, an UnreachableError
 * when it gives no answer, and what the signal was aborted with.
 */
export class ApiClient {
  readonly url: string;
  readonly #apiKey: string | undefined;

  constructor({ url, apiKey }: { url: string; apiKey?: string }) {
    this.url = url.replace(/\/+$/, '');
    this.#apiKey = apiKey;
  }

  /** Submits a job. The same idempotency key again gives the first job again. */
  submit(input: JobInput, options: { idempotencyKey?: string; signal?: AbortSignal } = {}): Promise<Job> {
    return this.#send('POST', '/jobs', Job, { ...options, body: input });
  }

  /** A page of the own jobs, newest first. */
  list({ limit, cursor }: { limit?: number; cursor?: string } = {}, signal?: AbortSignal): Promise<JobPage> {
    const query = new URLSearchParams();
    if (limit !== undefined) query.set('limit', String(limit));
    if (cursor !== undefined) query.set('cursor', cursor);
    return this.#send('GET', query.size > 0 ? `/jobs?${query}` : '/jobs', JobPage, { signal });
  }

  get(jobId: string, signal?: AbortSignal): Promise<Job> {
    return this.#send('GET', `/jobs/${encodeURIComponent(jobId)}`, Job, { signal });
  }

  progress(jobId: string, signal?: AbortSignal): Promise<JobProgress> {
    return this.#send('GET', `/jobs/${encodeURIComponent(jobId)}/progress`, JobProgress, { signal });
  }

  /** Cancels a job and answers it with its receipt. */
  cancel(jobId: string, reason?: string, signal?: AbortSignal): Promise<Job> {
    const body = reason === undefined ? {} : { reason };
    return this.#send('POST', `/jobs/${encodeURIComponent(jobId)}/cancel`, Job, { body, signal });
  }

  async #send<T>(method: string, path: string, answer: z.ZodType<T>, request: Request): Promise<T> {
    const { status, json } = await this.#exchange(method, path, request);
    if (status >= 200 && status < 300) {
      const parsed = answer.safeParse(json);
      if (parsed.success) return parsed.data;
    } else {
      const parsed = ProblemAnswer.safeParse(json);
      if (parsed.success) throw new ApiError(this.url, status, parsed.data);
    }
    throw new UnexpectedAnswerError(this.url, status);
  }

  async #exchange(
    method: string,
    path: string,
    { body, idempotencyKey, signal }: Request,
  ): Promise<{ status: number; json: unknown }> {
    signal?.throwIfAborted();
    // AbortSignal.any() would leave something behind on a signal that outlives thousands of requests.
    const stop = new AbortController();
    const abort = () => stop.abort();
    const timer = setTimeout(abort, SLOWEST_ANSWER_MS);
    signal?.addEventListener('abort', abort);
    try {
      const response = await fetch(`${this.url}${path}`, {
        method,
        headers: {
          accept: 'application/json',
          ...(this.#apiKey === undefined ? {} : { authorization: `Bearer ${this.#apiKey}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: 'manual',
        signal: stop.signal,
      });
      return { status: response.status, json: parse(await response.text()) };
    } catch (error) {
      signal?.throwIfAborted();
      const reason = stop.signal.aborted ? `no answer within ${SLOWEST_ANSWER_MS / 1000} s` : reasonOf(error);
      throw new UnreachableError(this.url, reason, !NEVER_SENT.test(reason), { cause: error });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** fetch says only that it failed; the socket's own error is its cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string };
  return cause?.code ?? cause?.message ?? message ?? 'unknown error';
}
