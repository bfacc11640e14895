import { setTimeout as delay } from 'node:timers/promises';
import type { ApiAnswer, ApiUser } from '../../support/api-client.js';
import type { History } from './history.js';
import type { Random } from './random.js';

/** One job of the load, as it is submitted. */
export interface LoadJob {
  type: string;
  payload: Record<string, unknown>;
  numTask?: number;
  catalog?: boolean;
  /** Milliseconds from its submit until it is due. */
  dueInMs?: number;
}

/** A bounded load. */
export interface LoadPlan {
  jobs: LoadJob[];
  /** Submits at one time. */
  atOnce: number;
  /** Milliseconds that each of them pauses between two submits. */
  pauseMs?: number;
  /** The share of jobs that are canceled some time after they were accepted. */
  cancelShare?: number;
  /** How long after it was accepted a job is canceled, at most. */
  cancelWithinMs?: number;
  /** The share of jobs that are sent with an Idempotency-Key, and repeated until there is an answer. */
  keyedShare?: number;
}

const REPEAT_MS = 250;
/** How long an answer that does not come is asked for again. */
const REPEAT_FOR_MS = 40_000;
const ANSWER_MS = 10_000;

/** Submits and cancels jobs over HTTP, and records what it was told. */
export class Load {
  readonly accepted: string[] = [];
  private count = 0;
  private readonly cancels: Promise<void>[] = [];

  constructor(
    private readonly user: () => ApiUser,
    private readonly history: History,
    private readonly effects: string,
    private readonly random: Random,
  ) {}

  /** Settles when every job was answered or given up, and every cancel too. */
  async run(plan: LoadPlan): Promise<void> {
    // Drawn before anything is sent, so that the seed and not the timing decides.
    const jobs = plan.jobs.map((job) => ({
      job,
      marker: `m${++this.count}`,
      keyed: this.random.happens(plan.keyedShare ?? 0.5),
      cancelAfter: this.random.happens(plan.cancelShare ?? 0)
        ? this.random.between(0, plan.cancelWithinMs ?? 1500)
        : undefined,
    }));
    const lane = async () => {
      for (let next = jobs.shift(); next; next = jobs.shift()) {
        const jobId = await this.submit(next.job, next.marker, next.keyed);
        if (jobId !== undefined && next.cancelAfter !== undefined)
          this.cancels.push(this.cancelLater(jobId, next.cancelAfter));
        if (plan.pauseMs) await delay(plan.pauseMs);
      }
    };
    await Promise.all(Array.from({ length: plan.atOnce }, lane));
    await Promise.all(this.cancels);
  }

  /** Submits one job; answers its id when it is known to be recorded. */
  async submit(job: LoadJob, marker = `m${++this.count}`, keyed = true): Promise<string | undefined> {
    const { type, payload, numTask, catalog = false, dueInMs } = job;
    const body = {
      type,
      payload: { marker, effects: this.effects, ...payload },
      ...(numTask === undefined ? {} : { numTask }),
      ...(catalog ? { catalog: { title: marker } } : {}),
      ...(dueInMs === undefined ? {} : { runAt: new Date(Date.now() + dueInMs).toISOString() }),
    };
    const headers: Record<string, string> = keyed ? { 'idempotency-key': marker } : {};
    const end = Date.now() + REPEAT_FOR_MS;
    for (;;) {
      const answer = await this.ask('POST', '/jobs', body, headers);
      const unknown = this.isUnknown('submit', answer);
      if (unknown && keyed && Date.now() < end) {
        await delay(REPEAT_MS);
        continue;
      }
      const status = answer?.status ?? 0;
      const jobId = status === 201 ? String(answer?.body.jobId) : null;
      const outcome = unknown ? 'unknown' : jobId === null ? 'refused' : 'accepted';
      this.history.note({ kind: 'submitted', marker, keyed, catalog, outcome, status, jobId });
      if (jobId !== null) this.accepted.push(jobId);
      return jobId ?? undefined;
    }
  }

  /** Cancels a job, again and again until there is an answer; answers its status. */
  async cancel(jobId: string): Promise<number | undefined> {
    const end = Date.now() + REPEAT_FOR_MS;
    do {
      const from = Date.now();
      const answer = await this.ask('POST', `/jobs/${jobId}/cancel`);
      if (!this.isUnknown('cancel', answer)) {
        const jobStatus = answer.status === 200 ? answer.body.status : (answer.body?.jobStatus ?? null);
        this.history.note({ kind: 'cancel', from, jobId, status: answer.status, jobStatus });
        return answer.status;
      }
      await delay(REPEAT_MS);
    } while (Date.now() < end);
    return undefined;
  }

  private async cancelLater(jobId: string, afterMs: number): Promise<void> {
    await delay(afterMs);
    await this.cancel(jobId);
  }

  private isUnknown(request: 'submit' | 'cancel', answer: ApiAnswer | undefined): answer is undefined {
    const unknown = answer === undefined || answer.status >= 500;
    if (unknown) this.history.note({ kind: 'unanswered', request, status: answer?.status ?? 0 });
    return unknown;
  }

  private async ask(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<ApiAnswer | undefined> {
    const silent = delay(ANSWER_MS, undefined, { ref: false });
    try {
      return await Promise.race([this.user().send(method, path, body, headers), silent]);
    } catch {
      return undefined;
    }
  }
}
