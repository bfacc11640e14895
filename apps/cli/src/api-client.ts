import type { JobInput } from '@app/core';
import type { z } from 'zod';
import { Job, JobPage, JobProgress, ProblemAnswer } from './api-answers.js';
import { Preview, Schedule, SchedulePage, SlotPage } from './schedule-answers.js';
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
    return this.#send('GET', `/jobs${queryOf({ limit, cursor })}`, JobPage, { signal });
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

  listSchedules({ limit, cursor }: { limit?: number; cursor?: string }) {
    return this.#send('GET', `/schedules${queryOf({ limit, cursor })}`, SchedulePage, {});
  }

  schedule(scheduleId: string): Promise<Schedule> {
    return this.#send('GET', `/schedules/${encodeURIComponent(scheduleId)}`, Schedule, {});
  }

  createSchedule(body: object): Promise<Schedule> {
    return this.#send('POST', '/schedules', Schedule, { body });
  }

  /** The next instants of a schedule that is not made. */
  previewSchedule(body: object) {
    return this.#send('POST', '/schedules/preview', Preview, { body });
  }

  operateSchedule(scheduleId: string, how: 'pause' | 'resume', body?: object): Promise<Schedule> {
    return this.#send('POST', `/schedules/${encodeURIComponent(scheduleId)}/${how}`, Schedule, { body });
  }

  /** Makes a job of a schedule now. */
  triggerSchedule(scheduleId: string): Promise<Job> {
    return this.#send('POST', `/schedules/${encodeURIComponent(scheduleId)}/trigger`, Job, {});
  }

  deleteSchedule(scheduleId: string): Promise<Schedule> {
    return this.#send('DELETE', `/schedules/${encodeURIComponent(scheduleId)}`, Schedule, {});
  }

  /** What became of the slots of a schedule, the latest first. */
  slots(
    scheduleId: string,
    { limit, cursor, outcome }: { limit?: number; cursor?: string; outcome?: string },
  ) {
    const query = queryOf({ limit, cursor, outcome });
    return this.#send('GET', `/schedules/${encodeURIComponent(scheduleId)}/slots${query}`, SlotPage, {});
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

/** The query of an address, `?` included; nothing when nothing is given. */
function queryOf(given: Record<string, string | number | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== undefined) query.set(name, String(value));
  return query.size > 0 ? `?${query}` : '';
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
