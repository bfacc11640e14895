import { z } from 'zod';
import { LONGEST_CURSOR } from '@app/engine/live/live-cursor.js';
import { strict } from '../jobs/strict.js';
import { PAGE_PARAMETERS } from '../jobs/jobs.schemas.js';

/** Jobs and types that one connection may name. */
export const MOST_NAMED = 200;

const NO_PARAMETER = 'There is no such parameter.';
const JobId = z.guid().transform((id) => id.toLowerCase());
const TypeName = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'No control characters.');

const listOf = <T extends string>(item: z.ZodType<T, string>, description: string) =>
  z
    .string()
    .transform((text) => [...new Set(text.split(','))])
    .pipe(z.array(item).max(MOST_NAMED))
    .optional()
    .meta({ description });

/** A place to go on from, as an `id` of an earlier event. */
const after = z
  .string()
  .max(LONGEST_CURSOR)
  .optional()
  .meta({ description: 'The id of the last event that came; a Last-Event-ID in the header goes before it.' });
const ticket = z
  .string()
  .max(100)
  .optional()
  .meta({ description: 'A ticket of POST /ws-tickets, in place of a credential.' });

const wanted = {
  jobId: listOf(JobId, 'Events of these jobs. Several with commas between them.'),
  type: listOf(TypeName, 'Events of jobs of these types. Several with commas between them.'),
};

/** The query of GET /events. */
export const FeedQuery = strict({ after, ...wanted, ticket }, NO_PARAMETER);
export type FeedQuery = z.output<typeof FeedQuery>;

/** The query of a WebSocket: a ticket goes with its protocols. */
export const SocketQuery = strict({ after, ...wanted }, NO_PARAMETER);

/** The query of GET /jobs/:jobId/events: of a page of its ledger, or of its stream. */
export const JobEventsQuery = strict({ ...PAGE_PARAMETERS, after, ticket }, NO_PARAMETER);
export type JobEventsQuery = z.output<typeof JobEventsQuery>;

/** What a client may say. */
export const ClientMessage = strict({
  event: z.literal('subscribe'),
  data: strict({
    jobIds: z.array(JobId).default([]),
    types: z.array(TypeName).default([]),
  }).refine(
    ({ jobIds, types }) => jobIds.length + types.length <= MOST_NAMED,
    `At most ${MOST_NAMED} jobs and types together.`,
  ),
});
export type ClientMessage = z.output<typeof ClientMessage>;
