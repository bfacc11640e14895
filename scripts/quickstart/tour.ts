import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiClient } from '../../apps/cli/src/api-client.js';
import type { Job } from '../../apps/cli/src/api-answers.js';
import { watchJob } from '../../apps/cli/src/watch-job.js';
import { repositoryRoot } from '../local/paths.js';
import { LocalStackError } from '../local/types.js';
import { type Everything, modelsFolder } from './everything.js';
import type { QuickstartOptions } from './options.js';

/** The "model" whose files are copied: a package that is installed anyway, with a few thousand files. */
const MODEL = 'rxjs';
const source = join(repositoryRoot, 'node_modules', MODEL);

/** Runs the main job and cancels a second one, in the terminal. */
export async function showMainJob(
  { url, apiKey, catalog }: Everything,
  options: QuickstartOptions,
  signal: AbortSignal,
): Promise<void> {
  const client = new ApiClient({ url, apiKey });
  const watching = { out: process.stdout, signal };
  const { version } = JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as { version: string };
  const modelId = `${MODEL}-${version}`;
  const target = join(modelsFolder, modelId);
  await rm(target, { recursive: true, force: true });

  console.log(
    `\n1. A job that copies the files of ${MODEL} in batches, and tells the catalog when all are there:`,
  );
  const metadata = { productName: MODEL, productVersion: version, tilesetFilename: 'package.json' };
  const payload = { source, target, modelId, metadata };
  const started = performance.now();
  const ingest = await client.submit({ type: 'files.ingest', payload }, { signal });
  const done = await watchJob(client, ingest.jobId, watching);
  const seconds = (performance.now() - started) / 1000;
  if (done.status !== 'completed')
    throw new LocalStackError(`The job ended ${done.status}: ${done.error?.message ?? ''}`);
  const record = catalog.records().get(modelId);
  if (!record) throw new LocalStackError(`The job is completed, and the catalog has no record ${modelId}.`);

  console.log('\n2. A job of 20 tasks that is canceled half-way:');
  const canceled = await cancelHalfWay(client, signal);
  if (canceled.status !== 'canceled') throw new LocalStackError(`The canceled job ended ${canceled.status}.`);
  const { tasks } = canceled;
  console.log(`   ${tasks.completed} of its tasks had been done, ${tasks.canceled} will never run again.`);

  if (!options.exit) console.log(whatNext(url, apiKey, ingest.jobId));
  const { files, bytes } = done.result as { files: number; bytes: number };
  const size = `${(bytes / 1e6).toFixed(1)} MB (${bytes} bytes)`;
  console.log(
    `\n${done.status}: ${files} files, ${size}, in ${seconds.toFixed(1)} seconds; catalog record ${record.id}`,
  );
}

async function cancelHalfWay(client: ApiClient, signal: AbortSignal): Promise<Job> {
  const payload = { durationMs: 400, steps: 4 };
  const { jobId } = await client.submit({ type: 'demo.wait', numTask: 20, payload }, { signal });
  let asked: Promise<Job> | undefined;
  const job = await watchJob(client, jobId, {
    out: process.stdout,
    signal,
    onProgress: ({ progress }) => {
      if (progress >= 50) asked ??= client.cancel(jobId, 'shown in the quickstart');
    },
  });
  await asked;
  return job;
}

function whatNext(url: string, apiKey: string, jobId: string): string {
  const auth = `-H 'Authorization: Bearer ${apiKey}'`;
  return `
Try next, in another terminal:

  curl -s ${url}/jobs/${jobId} ${auth}
  curl -s ${url}/jobs ${auth} -H 'Content-Type: application/json' -d '{"numTask": 20}'
  curl -s '${url}/jobs?limit=3' ${auth}
  npm run cli -- submit demo.wait --tasks 20 --watch

The API is described at ${url}/docs. Ctrl-C stops everything; what was done is kept in .longhaul/.`;
}
