import { z } from 'zod';

const Metadata = z.looseObject({
  id: z.string().min(1),
  links: z
    .array(z.looseObject({ protocol: z.string().min(1), url: z.string().regex(/^https?:\/\//) }))
    .min(1),
});

/** One record: what was posted, as it was posted. `id` and `links` are checked, the rest is free. */
export type CatalogRecord = z.infer<typeof Metadata>;

/** What became of a posted body. `applied` is false when an earlier call with the same key had written it. */
export type WriteResult = { record: CatalogRecord; applied: boolean } | { invalid: string };

/** Keys outlive their records here, so they need a bound of their own. */
const KEPT_KEYS = 100_000;

/** The records of the catalog, and the answers that it owes to repeated idempotency keys. In memory only. */
export class CatalogRecords {
  readonly #records = new Map<string, CatalogRecord>();
  readonly #answered = new Map<string, CatalogRecord>();

  /**
   * Writes a posted body. An id that exists is overwritten, as the real catalog does; a key that was answered
   * before gets the same record again and writes nothing.
   */
  write(rawBody: string, idempotencyKey: string | null): WriteResult {
    const parsed = parseMetadata(rawBody);
    if ('invalid' in parsed) return parsed;
    const earlier = idempotencyKey === null ? undefined : this.#answered.get(idempotencyKey);
    if (earlier) return { record: earlier, applied: false };
    this.#records.set(parsed.record.id, parsed.record);
    if (idempotencyKey !== null) this.#remember(idempotencyKey, parsed.record);
    return { record: parsed.record, applied: true };
  }

  /** The record of that id, or undefined. */
  find(id: string): CatalogRecord | undefined {
    return this.#records.get(id);
  }

  /** Every record, oldest id first. */
  all(): CatalogRecord[] {
    return [...this.#records.values()];
  }

  /** Removes a record; false when there was none. */
  remove(id: string): boolean {
    return this.#records.delete(id);
  }

  #remember(key: string, record: CatalogRecord): void {
    this.#answered.set(key, record);
    if (this.#answered.size <= KEPT_KEYS) return;
    const oldest = this.#answered.keys().next();
    if (!oldest.done) this.#answered.delete(oldest.value);
  }
}

function parseMetadata(rawBody: string): { record: CatalogRecord } | { invalid: string } {
  let json: unknown;
  try {
    json = JSON.parse(rawBody);
  } catch {
    return { invalid: 'the body is not JSON' };
  }
  const parsed = Metadata.safeParse(json);
  if (parsed.success) return { record: parsed.data };
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.') || 'the body';
  return { invalid: `${where}: ${issue?.message ?? 'invalid'}` };
}
