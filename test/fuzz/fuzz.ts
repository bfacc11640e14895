import { z } from 'zod';
import type { ApiUser } from '../support/api-client.js';
import { type ApiDocument, type Operation, operationsOf } from './api-document.js';
import { AnswerCheck, hasComeToItsRoute } from './check-answer.js';
import { type Exchange, Exchanges } from './exchange.js';
import { addressOf, type FuzzRequest, validRequest } from './fuzz-request.js';
import { MUTATIONS } from './mutations.js';
import { Random } from './random.js';
import type { Known } from './schema-values.js';
import { WriteLog } from './write-log.js';

/** Faults that are told; after so many something is wrong with all of them. */
const MOST_FAULTS = 20;
/** In so many requests each route is asked rightly, but for those of a tag, which none has here, and of a delivery of its webhook. */
const ENOUGH = 5000;
const NEVER_DONE = /tags|redeliver/;

/** Ids that are remembered of one kind. */
const MOST_KNOWN = 200;

export interface FuzzOptions {
  /** Of an API that nobody else asks, without a worker that would write by itself. */
  url: string;
  databaseUrl: string;
  /** Who asks; the first one is an administrator. */
  users: ApiUser[];
  seed: number;
  requests: number;
}

export interface FuzzReport {
  seed: number;
  requests: number;
  /** Answers by their status. */
  statuses: Record<number, number>;
  /** Answers by the route that was asked for, and those of 200 to 299 among them. */
  routes: Record<string, { asked: number; done: number }>;
  faults: string[];
}

/** Ids that a part of an address may be, and that answers tell. */
const IDS = ['jobId', 'keyId', 'scheduleId', 'webhookId', 'deliveryId'] as const;
const Answer = z.looseObject(Object.fromEntries(IDS.map((name) => [name, z.string().optional()])));

/** Asks an API what its own document says, rightly and wrongly, and judges each answer. */
export class Fuzz {
  private readonly random: Random;
  private readonly known: Known = {
    ...Object.fromEntries(IDS.map((name) => [name, []])),
    name: ['demo.wait', 'none'],
    type: ['demo.wait'],
  };
  private readonly report: FuzzReport;

  private constructor(
    private readonly options: FuzzOptions,
    private readonly document: ApiDocument,
    private readonly check: AnswerCheck,
    private readonly exchanges: Exchanges,
    private readonly writes: WriteLog,
  ) {
    const { seed, requests } = options;
    this.random = new Random(seed);
    this.report = { seed, requests, statuses: {}, routes: {}, faults: [] };
  }

  /** @returns what came of it; no faults: all is as it is documented, and nothing refused was written */
  static async run(options: FuzzOptions): Promise<FuzzReport> {
    const [admin] = options.users as [ApiUser];
    const document = (await admin.get('/openapi.json')).body as ApiDocument;
    const exchanges = new Exchanges(options.url);
    // Makes the keys of the cursors, which are made by the first that is asked for.
    for (const limit of [1, 2]) await admin.get(`/jobs?limit=${limit}`);
    const writes = await WriteLog.open(options.databaseUrl);
    try {
      const fuzz = new Fuzz(options, document, new AnswerCheck(document), exchanges, writes);
      return await fuzz.all();
    } finally {
      exchanges.close();
      await writes.close();
    }
  }

  private async all(): Promise<FuzzReport> {
    const { report } = this;
    const operations = operationsOf(this.document).flatMap((operation) => {
      report.routes[operation.name] = { asked: 0, done: 0 };
      // Where more can be wrong, more is tried.
      return Array.from(
        { length: operation.parameters.length > 0 || operation.body ? 3 : 1 },
        () => operation,
      );
    });
    await this.learn();
    for (let nth = 0; nth < report.requests && report.faults.length < MOST_FAULTS; nth++) {
      // Each in its turn, so that none is left out.
      await this.one(nth, operations[nth % operations.length] as Operation);
    }
    if (report.requests >= ENOUGH) report.faults.push(...this.idle());
    return report;
  }

  /** Routes that have never done what they are for, in as many requests as each must have been right once. */
  private idle(): string[] {
    return Object.entries(this.report.routes)
      .filter(([name, { done }]) => done === 0 && !NEVER_DONE.test(name))
      .map(([name, { asked }]) => `${name} was asked ${asked} times and never did what it is for`);
  }

  /** What is there to be found before the first request. */
  private async learn(): Promise<void> {
    for (const user of this.options.users) {
      const { jobs } = (await user.get('/jobs')).body as { jobs: { jobId: string }[] };
      this.known['jobId']?.push(...jobs.map(({ jobId }) => jobId));
    }
  }

  private async one(nth: number, operation: Operation): Promise<void> {
    const { random, report } = this;
    const request = validRequest(this.document, operation, random, this.known);
    for (let count = random.pick([0, 0, 1, 1, 1, 2, 3]); count > 0; count--) {
      const name = random.pick(Object.keys(MUTATIONS));
      MUTATIONS[name]?.(request, random);
      request.mutations.push(name);
    }
    // Mostly the administrator, whom most is open to; sometimes nobody.
    const user = random.chance(0.75) ? this.options.users[0] : random.pick(this.options.users);
    const credential: Record<string, string> = random.chance(0.01) ? {} : credentialOf(user?.key ?? '');
    const place = `${nth} ${request.method} ${addressOf(request).slice(0, 200)} (${request.mutations.join(', ')})`;
    const faulty = (fault: string) => report.faults.push(`${place}: ${fault}`);
    try {
      const answer = await this.exchanges.send(request, credential);
      report.statuses[answer.status] = (report.statuses[answer.status] ?? 0) + 1;
      const written = await this.writes.take();
      this.count(request, answer);
      this.check.faultsOf(request, answer).forEach(faulty);
      if (answer.status >= 400 && written.length > 0)
        faulty(`${answer.status}, and wrote: ${written.join(', ')}`);
    } catch (error) {
      faulty(error instanceof Error ? error.message : String(error));
    }
  }

  private count(request: FuzzRequest, { status, text }: Exchange): void {
    const route = this.report.routes[request.operation.name];
    // What went elsewhere says nothing of this route.
    if (!route || !hasComeToItsRoute(request)) return;
    route.asked++;
    if (status >= 300) return;
    route.done++;
    if (request.method !== 'POST') return;
    // What was made can be asked for from now on.
    const made = Answer.safeParse(text === '' ? {} : JSON.parse(text));
    for (const name of IDS) {
      const [id, pool] = [made.data?.[name], this.known[name]];
      if (id !== undefined && pool && pool.length < MOST_KNOWN && !pool.includes(id)) pool.push(id);
    }
  }
}

function credentialOf(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}
