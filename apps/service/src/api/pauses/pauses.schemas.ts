import { z } from 'zod';
import { Instant } from '../jobs/jobs.schemas.js';
import { strict } from '../jobs/strict.js';

/** The body of PUT /pauses/…, which may be left out. */
export const PauseBody = strict({
  reason: z.string().min(1).max(500).optional().meta({ description: 'Why, for those who wonder.' }),
  until: Instant.refine((text) => new Date(text).getTime() > Date.now(), 'This time has passed.')
    .optional()
    .meta({ description: 'When the pause ends by itself.' }),
}).optional();
export type PauseBody = z.output<typeof PauseBody>;
