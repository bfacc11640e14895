import { relative } from 'node:path';
import { localFolder, programsFolder } from '../local/paths.js';
import type { QuickstartOptions } from './options.js';

/** What a newcomer may try after the tour. */
export function whatNext(
  { url, apiKey, jobId }: { url: string; apiKey: string; jobId: string },
  { exit }: Pick<QuickstartOptions, 'exit'>,
): string {
  if (exit) return '\nTry next: npm run quickstart, without --exit, stays up and shows what to send to it.\n';
  const auth = `-H 'Authorization: Bearer ${apiKey}'`;
  // The command line finds the key there.
  const folder = localFolder === programsFolder ? '' : `LONGHAUL_DIR='${localFolder}' `;
  return `
Everything is up until you press Ctrl-C. Try next, in another terminal:

  curl -s ${url}/jobs/${jobId} ${auth}
  curl -s '${url}/jobs?limit=3' ${auth}
  curl -s ${url}/jobs ${auth} -H 'Content-Type: application/json' -d '{"numTask": 20}'
  ${folder}npm run cli -- submit demo.wait --tasks 20 --watch

The API is described at ${url}/docs. What was done is kept in ${relative(process.cwd(), localFolder)}/ for the next run.`;
}
