import { createHmac, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { JobCursor } from '@app/engine/store/listed-jobs.js';
import type { DeliveryCursor } from '@app/engine/store/webhook-deliveries.js';
import type { EventCursor } from '@app/engine/store/read-ledger.js';
import { SettingsStore } from '@app/platform/prisma/settings-store.js';
import { validationError } from '../problems/problem.js';

const whole = (least: number, most = 2_147_483_647) => z.int().min(least).max(most);
const AfterJob = z.tuple([whole(0, 8.64e15), z.guid()]);
const AfterSlot = z.tuple([whole(-8.64e15, 8.64e15)]);
const AfterPosition = z.tuple([whole(-1)]);
const AfterEvent = z.tuple([z.string().regex(/^\d{1,18}$/), whole(0), whole(0), whole(0)]);

/** Bytes of the signature that are kept. */
const SIGNATURE = 16;

/**
 * Places in lists, as text that clients hand back unread. It is signed together with the list it is of: who lists, what,
 * and with which filters. With any other list it is refused, like one that was changed.
 */
@Injectable()
export class Cursors {
  private key: Promise<Buffer> | undefined;

  constructor(private readonly settings: SettingsStore) {}

  /** A place in a list of jobs. */
  afterJob(list: unknown[], { createdAt, jobId }: JobCursor): Promise<string> {
    return this.write(list, [createdAt.getTime(), jobId]);
  }

  /** @throws {ProblemError} when the text is no cursor of this list. */
  async readJob(list: unknown[], text: string): Promise<JobCursor> {
    const [createdAt, jobId] = await this.read(list, text, AfterJob);
    return { createdAt: new Date(createdAt), jobId };
  }

  /** A place in the ledger of a schedule, the latest slots first. */
  beforeSlot(list: unknown[], slot: Date): Promise<string> {
    return this.write(list, [slot.getTime()]);
  }

  /** @throws {ProblemError} when the text is no cursor of this list. */
  async readSlot(list: unknown[], text: string): Promise<Date> {
    return new Date((await this.read(list, text, AfterSlot))[0]);
  }

  /** A place in a job's list of tasks. */
  afterTask(list: unknown[], position: number): Promise<string> {
    return this.write(list, [position]);
  }

  /** @throws {ProblemError} when the text is no cursor of this list. */
  async readTask(list: unknown[], text: string): Promise<number> {
    return (await this.read(list, text, AfterPosition))[0];
  }

  /** A place in a job's ledger. */
  afterEvent(list: unknown[], { seq, nth, version, index }: EventCursor): Promise<string> {
    return this.write(list, [String(seq), nth, version, index]);
  }

  /** @throws {ProblemError} when the text is no cursor of this list. */
  async readEvent(list: unknown[], text: string): Promise<EventCursor> {
    const [seq, nth, version, index] = await this.read(list, text, AfterEvent);
    return { seq: BigInt(seq), nth, version, index };
  }

  /** A place in the deliveries of a webhook. */
  afterDelivery(list: unknown[], { createdAt, deliveryId }: DeliveryCursor): Promise<string> {
    return this.write(list, [createdAt.getTime(), deliveryId]);
  }

  /** @throws {ProblemError} when the text is no cursor of this list. */
  async readDelivery(list: unknown[], text: string): Promise<DeliveryCursor> {
    const [createdAt, deliveryId] = await this.read(list, text, AfterJob);
    return { createdAt: new Date(createdAt), deliveryId };
  }

  private async write(list: unknown[], place: unknown[]): Promise<string> {
    const json = JSON.stringify(place);
    return Buffer.concat([await this.sign(list, json), Buffer.from(json)]).toString('base64url');
  }

  private async read<T>(list: unknown[], text: string, schema: z.ZodType<T>): Promise<T> {
    const bytes = Buffer.from(text, 'base64url');
    const json = bytes.subarray(SIGNATURE).toString();
    const expected = await this.sign(list, json);
    const given = bytes.subarray(0, SIGNATURE);
    // Only the one spelling that was given out: base64url has others for the same bytes.
    const ours =
      given.length === SIGNATURE && timingSafeEqual(given, expected) && bytes.toString('base64url') === text;
    const parsed = ours ? schema.safeParse(JSON.parse(json)) : undefined;
    if (parsed?.success) return parsed.data;
    throw validationError([
      { pointer: '/cursor', message: 'Give a nextCursor of an earlier answer to the same list as it was.' },
    ]);
  }

  private async sign(list: unknown[], json: string): Promise<Buffer> {
    const hmac = createHmac('sha256', await this.secret());
    return hmac
      .update(JSON.stringify([list, json]))
      .digest()
      .subarray(0, SIGNATURE);
  }

  /** Of the database, so that any process can read what another one has written. */
  private secret(): Promise<Buffer> {
    this.key ??= this.settings.secret('cursor_key').catch((error: unknown) => {
      this.key = undefined;
      throw error;
    });
    return this.key;
  }
}
