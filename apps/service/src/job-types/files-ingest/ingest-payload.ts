import { isAbsolute } from 'node:path';
import { cleanText } from '@app/core';
import { z } from 'zod';

/** Bytes of JSON that the metadata may have. */
const MAX_METADATA_BYTES = 256 * 1024;

/** Keys that the catalog record has itself. */
const TAKEN_KEYS = ['id', 'links'];

const storable = (text: string) => cleanText(text) === text;

const folder = z
  .string()
  .max(4096)
  .refine((path) => isAbsolute(path) && storable(path), 'must be an absolute path');

const modelId = z
  .string()
  .min(1)
  .max(200)
  .refine(
    (id) => id !== '.' && id !== '..' && !id.includes('/') && storable(id),
    'must be one name of a path',
  );

const metadata = z
  .record(z.string(), z.json())
  .refine(
    (data) => !TAKEN_KEYS.some((key) => Object.hasOwn(data, key)),
    'must not have the keys id and links',
  )
  .refine(
    (data) => Buffer.byteLength(JSON.stringify(data)) <= MAX_METADATA_BYTES,
    `must have at most ${MAX_METADATA_BYTES} bytes of JSON`,
  )
  .refine(({ tilesetFilename: name }) => name === undefined || (typeof name === 'string' && isBelow(name)), {
    path: ['tilesetFilename'],
    error: 'must be a path below the model',
  });

/** What a submitter of `files.ingest` gives. */
export const IngestPayload = z.strictObject({
  source: folder.describe('the folder whose files are copied'),
  target: folder.describe('the folder they are copied to; made when missing'),
  modelId: modelId.optional().describe('the id of the catalog record; the job’s unless given'),
  batchSize: z.int().min(1).max(1000).default(100).describe('files of one task'),
  metadata: metadata.default({}).describe('the metadata of the catalog record'),
});
export type IngestPayload = z.output<typeof IngestPayload>;

/** What one task copies: paths below the source, with slashes. */
export interface IngestBatch {
  files: string[];
}

/** What a batch, and in the end the job, has done. */
export const IngestResult = z.object({
  files: z.int(),
  bytes: z.int(),
  /** Files that the target already had. */
  skipped: z.int(),
  checksum: z.string(),
});
export type IngestResult = z.output<typeof IngestResult>;

/** Whether a path with slashes stays below the folder that it is joined to. */
export function isBelow(path: string): boolean {
  return path !== '' && !path.split('/').some((part) => part === '' || part === '.' || part === '..');
}
