import { createHash } from 'node:crypto';
import {
  type CatalogEntry,
  type JobHandler,
  JobType,
  type JobView,
  PermanentError,
  type PlannedTask,
  type TaskContext,
  type TaskResults,
  type TaskView,
} from '@app/core';
import type { Config } from '@app/platform/config/config.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import { Inject } from '@nestjs/common';
import { confinedFolders, confinedTarget, openConfined, realRoots } from './files-ingest/confined-path.js';
import { copyFile } from './files-ingest/copy-file.js';
import { type IngestBatch, IngestPayload, IngestResult } from './files-ingest/ingest-payload.js';
import { walkFolder } from './files-ingest/walk-folder.js';

/**
 * Copies the files of a model's folder in batches, below INGEST_ROOTS only, and tells the Catalog of the model.
 * Links to files are copied as files; a link to a folder fails the job. Empty folders are left out.
 */
@JobType({ name: 'files.ingest', payload: IngestPayload, attempts: 3, timeout: '10m', resumable: true })
export class FilesIngest implements JobHandler<IngestPayload, IngestBatch> {
  constructor(@Inject(CONFIG) private readonly config: Pick<Config, 'INGEST_ROOTS'>) {}

  async *plan(
    job: JobView<IngestPayload>,
    ctx: Pick<TaskContext, 'signal'>,
  ): AsyncGenerator<PlannedTask<IngestBatch>, void, void> {
    const { batchSize, source: given } = job.payload;
    const roots = await realRoots(this.config.INGEST_ROOTS);
    const { source } = await confinedFolders(job.payload, roots);
    let files: string[] = [];
    let batches = 0;
    for await (const path of walkFolder({ source, roots, signal: ctx.signal })) {
      files.push(path);
      if (files.length < batchSize) continue;
      yield batch(++batches, files);
      files = [];
    }
    if (files.length > 0) yield batch(++batches, files);
    if (batches === 0) throw new PermanentError(`The folder ${given} holds no files.`);
  }

  /** Copies a batch. It keeps no checkpoint: files that are there already are found equal and skipped. */
  async run(task: TaskView<IngestBatch>, ctx: TaskContext<IngestPayload>): Promise<IngestResult> {
    const { files } = task.payload;
    const roots = await realRoots(this.config.INGEST_ROOTS);
    const folders = await confinedFolders(ctx.job.payload, roots);
    const lines: string[] = [];
    let bytes = 0;
    let skipped = 0;
    for (const path of files) {
      ctx.signal.throwIfAborted();
      // Again for each file: links may have been put in since the plan was made.
      const source = await openConfined(folders.source, path, roots);
      try {
        const target = await confinedTarget(folders.target, path, roots);
        const { size } = await source.stat();
        const onBytes = (done: number) =>
          report(ctx, files, lines.length, { path, share: done / size, bytes: bytes + done });
        const copy = { source, path, target, taskId: task.taskId, signal: ctx.signal, onBytes };
        const copied = await copyFile(copy);
        lines.push(`${copied.sha256}  ${path}\n`);
        bytes += copied.bytes;
        if (copied.skipped) skipped++;
      } finally {
        await source.close();
      }
      report(ctx, files, lines.length, { path, share: 0, bytes });
    }
    return { files: lines.length, bytes, skipped, checksum: sha256(lines.toSorted()) };
  }

  /** Adds the batches up. The checksum is over theirs in the order of the plan. */
  async summarize(_job: JobView<IngestPayload>, results: TaskResults): Promise<IngestResult> {
    const sum = { files: 0, bytes: 0, skipped: 0 };
    const checksums: string[] = [];
    for await (const { result } of results) {
      const done = IngestResult.parse(result);
      sum.files += done.files;
      sum.bytes += done.bytes;
      sum.skipped += done.skipped;
      checksums.push(done.checksum);
    }
    return { ...sum, checksum: sha256(checksums) };
  }

  catalog({ jobId, payload }: JobView<IngestPayload>): CatalogEntry {
    const id = payload.modelId ?? jobId;
    const tileset = payload.metadata['tilesetFilename'];
    const name = typeof tileset === 'string' ? tileset : 'tileset.json';
    return { id, metadata: payload.metadata, links: [{ path: `${id}/${name}` }] };
  }
}

function batch(number: number, files: string[]): PlannedTask<IngestBatch> {
  return { key: `batch-${String(number).padStart(4, '0')}`, payload: { files } };
}

/** Tells of the files done and of the share of the one that is being copied. */
function report(
  ctx: TaskContext<IngestPayload>,
  files: string[],
  done: number,
  current: { path: string; share: number; bytes: number },
): void {
  const percent = (Math.min(done + current.share, files.length) / files.length) * 100;
  ctx.progress(percent, { file: current.path, files: done, bytes: current.bytes });
}

function sha256(texts: string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text);
  return hash.digest('hex');
}
