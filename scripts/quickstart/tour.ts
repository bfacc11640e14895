import { ApiClient } from '../../apps/cli/src/api-client.js';
import type { Job } from '../../apps/cli/src/api-answers.js';
import { watchJob } from '../../apps/cli/src/watch-job.js';
import { LocalStackError, type Log } from '../local/types.js';
import { type Everything, modelsFolder } from './everything.js';
import { clearTarget, endLeftovers } from './leftovers.js';
import { prepareModel } from './model.js';
import type { QuickstartOptions } from './options.js';
import { whatNext } from './what-next.js';

/** Runs the main job and cancels a second one, in the terminal. Answers the line that sums the main job up. */
export async function showMainJob(
  { url, apiKey, catalog }: Everything,
  options: QuickstartOptions,
  say: Log,
  signal: AbortSignal,
): Promise<string> {
  const client = new ApiClient({ url, apiKey });
  const watching = { out: process.stdout, signal };
  await endLeftovers(client, say, signal);
  const { name, version, id: modelId, source, target } = await prepareModel(modelsFolder, signal);
  await clearTarget(target);

  say(`\n1. A job that copies the files of ${name} in batches, and tells the catalog when all are there:`);
  const metadata = { productName: name, productVersion: version, tilesetFilename: 'package.json' };
  const payload = { source, target, modelId, metadata };
  const started = performance.now();
  const ingest = await client.submit({ type: 'files.ingest', payload }, { signal });
  const done = await watchJob(client, ingest.jobId, watching);
  const seconds = (performance.now() - started) / 1000;
  if (done.status !== 'completed')
    throw new LocalStackError(
      `The job ended ${done.status}: ${done.error?.message ?? 'no reason was given.'}`,
    );
  const record = catalog.records().get(modelId);
  if (!record) throw new LocalStackError(`The job is completed, and the catalog has no record ${modelId}.`);
  const { files, bytes } = done.result as { files: number; bytes: number };
  const size = `${(bytes / 1e6).toFixed(1)} MB (${bytes} bytes)`;
  const summary = `${done.status}: ${files} files, ${size}, in ${seconds.toFixed(1)} seconds; catalog record ${record.id}`;

  say('\n2. A job of 20 tasks that is canceled half-way:');
  const { status, tasks } = await cancelHalfWay(client, signal);
  if (status !== 'canceled') throw new LocalStackError(`The job that was to be canceled ended ${status}.`);
  say(
    `   ${tasks.completed} of its tasks had been done; the other ${tasks.canceled} were stopped or will never run.`,
  );

  if (!options.exit) say(`\nThe first job: ${summary}`);
  say(whatNext({ url, apiKey, jobId: ingest.jobId }, options));
  return summary;
}

async function cancelHalfWay(client: ApiClient, signal: AbortSignal): Promise<Job> {
  // The second half would take five seconds and more: on a slow machine too, the cancel comes before its end.
  const tasks = Array.from({ length: 20 }, (_, nth) => ({
    payload: { durationMs: nth < 10 ? 400 : 5000, steps: 4 },
  }));
  const { jobId } = await client.submit({ type: 'demo.wait', tasks }, { signal });
  let asked: Promise<Job> | undefined;
  const job = await watchJob(client, jobId, {
    out: process.stdout,
    signal,
    onProgress: ({ progress }) => {
      if (progress < 50 || asked) return;
      asked = client.cancel(jobId, 'shown in the quickstart');
      // It is waited for below, unless the watch fails first.
      asked.catch(() => {});
    },
  });
  await asked;
  return job;
}
