import { z } from 'zod';

const Fault = z
  .strictObject({
    mode: z
      .enum(['reply', 'hang', 'hang-body', 'reset', 'apply-then-drop', 'apply-then-500'])
      .default('reply'),
    status: z.int().min(200).max(599).optional(),
    body: z.unknown().optional(),
    headers: z.record(z.string(), z.string()).optional(),
    delayMs: z.int().min(0).max(600_000).default(0),
    times: z.int().min(1).max(1_000_000).default(1),
    match: z
      .strictObject({
        id: z.string().min(1).optional(),
        method: z.enum(['GET', 'POST', 'DELETE']).optional(),
      })
      .default({}),
  })
  .refine((fault) => fault.status !== undefined || fault.body === undefined, 'a body needs a status');

/**
 * One scripted behaviour of the next `times` calls that match (default 1, any call under /metadata).
 *
 * - `reply`: answers `status`, `headers` and `body` (text as it is, anything else as JSON) and writes nothing; without
 *   a `status` the call is handled as usual, which with `delayMs` makes a slow catalog
 * - `hang`: takes the request and never answers · `hang-body`: sends the head of a 200 (or `status`), never its body
 * - `reset`: breaks the connection, nothing written
 * - `apply-then-drop`: does the work, then breaks the connection without an answer
 * - `apply-then-500`: does the work, then answers 500 (or `status`)
 *
 * `delayMs` passes before anything else is done, and the call is carried on even if its caller has left by then.
 */
export type FaultInput = z.input<typeof Fault>;
export type Fault = z.output<typeof Fault>;

/** Checks a body of the control plane: one fault or a list of them. */
export function parseFaults(json: unknown): { faults: Fault[] } | { invalid: string } {
  const parsed = z.array(Fault).safeParse(Array.isArray(json) ? json : [json]);
  if (parsed.success) return { faults: parsed.data };
  const issue = parsed.error.issues[0];
  return { invalid: `fault ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}` };
}

/** The scripted faults that are still to happen, in the order in which they were queued. */
export class FaultScript {
  #queued: Fault[] = [];

  /** Queues faults behind those that wait. */
  add(faults: Fault[]): void {
    this.#queued.push(...faults.map((fault) => ({ ...fault })));
  }

  clear(): void {
    this.#queued = [];
  }

  /** Those still to happen, with the `times` that are left. */
  pending(): Fault[] {
    return this.#queued.map((fault) => ({ ...fault }));
  }

  /** Takes one use of the first fault that matches this call; undefined when the call goes its usual way. */
  take(method: string, id: string | undefined): Fault | undefined {
    const fault = this.#queued.find(
      ({ match }) =>
        (match.id === undefined || match.id === id) &&
        (match.method === undefined || match.method === method),
    );
    if (!fault) return undefined;
    fault.times -= 1;
    if (fault.times === 0) this.#queued = this.#queued.filter((queued) => queued !== fault);
    return fault;
  }
}
