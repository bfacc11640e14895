import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Json, type JobView, jobTypePolicy, PermanentError } from '@app/core';
import { FilesIngest } from './files-ingest.job.js';
import { IngestPayload } from './files-ingest/ingest-payload.js';

let base: string;
let ingest: FilesIngest;
const at = (path: string) => join(base, path);

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'files-ingest-')));
  for (const folder of ['inside/model', 'outside']) await mkdir(at(folder), { recursive: true });
  ingest = new FilesIngest({ INGEST_ROOTS: [at('inside')] });
});
afterEach(() => rm(base, { recursive: true, force: true }));

async function put(files: Record<string, string | Buffer>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(at(path)), { recursive: true });
    await writeFile(at(path), content);
  }
}

function jobOf(payload: object = {}): JobView<IngestPayload> {
  const input = { source: at('inside/model'), target: at('inside/out'), ...payload };
  return {
    jobId: 'job-1',
    type: 'files.ingest',
    ownerId: 'owner-1',
    generation: 1,
    payloadVersion: 1,
    payload: IngestPayload.parse(input),
    createdAt: new Date(0),
  };
}

async function plan(payload: object = {}, signal = new AbortController().signal) {
  const batches: { key: string; payload: { files: string[] } }[] = [];
  for await (const batch of ingest.plan(jobOf(payload), { signal })) batches.push(batch);
  return batches;
}

function run(
  files: string[],
  { signal = new AbortController().signal, onProgress = (_percent: number, _detail?: Json) => {} } = {},
) {
  const ctx = {
    signal,
    job: jobOf(),
    log: { info: () => {}, warn: () => {} },
    progress: onProgress,
    checkpoint: async () => {},
    commit: () => Promise.reject(new Error('no database here')),
  };
  const task = { taskId: 'task-1', key: 'batch-0001', position: 0, attempt: 1, checkpoint: undefined };
  return ingest.run({ ...task, payload: { files } }, ctx);
}

/** The message of a permanent failure, without the temporary folder. */
async function refusal(step: Promise<unknown>): Promise<string> {
  const error = await step.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PermanentError);
  return (error as Error).message.replaceAll(base, '');
}

const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');

test('the policy', () => {
  expect(jobTypePolicy(FilesIngest)).toMatchObject({
    name: 'files.ingest',
    attempts: 3,
    timeoutMs: 600_000,
    resumable: true,
    tag: undefined,
  });
});

describe('the plan', () => {
  test('puts 250 files into batches of 100', async () => {
    const names = Array.from({ length: 250 }, (_, n) => `${n % 3}/tile-${String(n).padStart(3, '0')}.b3dm`);
    await put(Object.fromEntries(names.map((name) => [`inside/model/${name}`, name])));
    const batches = await plan();
    expect(batches.map(({ key, payload }) => [key, payload.files.length])).toEqual([
      ['batch-0001', 100],
      ['batch-0002', 100],
      ['batch-0003', 50],
    ]);
    expect(batches.flatMap(({ payload }) => payload.files)).toEqual(names.toSorted());
    expect(await plan()).toEqual(batches);
  });

  test('makes no empty batch when the last one is full', async () => {
    await put({ 'inside/model/a': '', 'inside/model/b': '' });
    expect(await plan({ batchSize: 1 })).toEqual([
      { key: 'batch-0001', payload: { files: ['a'] } },
      { key: 'batch-0002', payload: { files: ['b'] } },
    ]);
    expect(await plan({ batchSize: 2 })).toHaveLength(1);
  });

  test('refuses a folder without files', async () => {
    await mkdir(at('inside/model/empty'));
    expect(await refusal(plan())).toBe('The folder /inside/model holds no files.');
  });

  test('refuses everything while INGEST_ROOTS is not set', async () => {
    ingest = new FilesIngest({ INGEST_ROOTS: [] });
    expect(await refusal(plan())).toBe('INGEST_ROOTS is not set, so that no folder may be read.');
  });

  test('refuses folders outside the roots', async () => {
    await put({ 'inside/model/a': '' });
    expect(await refusal(plan({ source: at('outside') }))).toMatch(/^The source \/outside lies outside/);
    expect(await refusal(plan({ target: `${at('inside')}/../outside` }))).toMatch(
      /^The target .* lies outside/,
    );
    expect(await refusal(plan({ target: at('inside/model/out') }))).toMatch(/lies inside the source/);
  });

  test('stops when told to', async () => {
    await put({ 'inside/model/a': '' });
    await expect(plan({}, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('a batch', () => {
  beforeEach(() => put({ 'inside/model/b': 'bbb', 'inside/model/lod/a': 'a', 'inside/model/empty': '' }));
  const files = ['b', 'empty', 'lod/a'];
  const lines = [`${sha256('bbb')}  b\n`, `${sha256('')}  empty\n`, `${sha256('a')}  lod/a\n`];
  const checksum = sha256(lines.toSorted().join(''));

  test('is copied, and says what it did', async () => {
    expect(await run(files)).toEqual({ files: 3, bytes: 4, skipped: 0, checksum });
    expect(await readFile(at('inside/out/lod/a'), 'utf8')).toBe('a');
    expect((await readdir(at('inside/out'), { recursive: true })).toSorted()).toEqual([
      'b',
      'empty',
      'lod',
      'lod/a',
    ]);
  });

  test('skips on a rerun what is there, and copies what changed', async () => {
    await run(files);
    expect(await run(files)).toEqual({ files: 3, bytes: 4, skipped: 3, checksum });
    await put({ 'inside/model/b': 'BBB' });
    expect(await run(files)).toMatchObject({ files: 3, bytes: 4, skipped: 2 });
    expect(await readFile(at('inside/out/b'), 'utf8')).toBe('BBB');
  });

  test('reports the files done, and how far a large one is', async () => {
    await put({ 'inside/model/large': Buffer.alloc(2 * 1024 * 1024) });
    const reports: [number, Json | undefined][] = [];
    await run(['b', 'large'], { onProgress: (percent, detail) => reports.push([percent, detail]) });
    const bytes = 3 + 2 * 1024 * 1024;
    expect(reports).toContainEqual([50, { file: 'b', files: 1, bytes: 3 }]);
    expect(reports).toContainEqual([75, { file: 'large', files: 1, bytes: 3 + 1024 * 1024 }]);
    expect(reports.at(-1)).toEqual([100, { file: 'large', files: 2, bytes }]);
    const percents = reports.map(([percent]) => percent);
    expect(percents).toEqual(percents.toSorted((one, other) => one - other));
  });

  test('leaves no part when it is told to stop amid a file', async () => {
    await put({ 'inside/model/large': Buffer.alloc(3 * 1024 * 1024) });
    const controller = new AbortController();
    const onProgress = (percent: number) => {
      if (percent > 50 && percent < 100) controller.abort();
    };
    const stopped = run(['b', 'large'], { signal: controller.signal, onProgress });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    expect(await readdir(at('inside/out'))).toEqual(['b']);
    expect(await run(['b', 'large'])).toMatchObject({ files: 2, skipped: 1 });
  });

  test('refuses a file that became a link out of the roots', async () => {
    await put({ 'outside/secret': 'secret' });
    await rm(at('inside/model/b'));
    await symlink('../../outside/secret', at('inside/model/b'));
    expect(await refusal(run(files))).toBe('The file b lies outside the folders of INGEST_ROOTS.');
    expect(existsSync(at('inside/out/b'))).toBe(false);
  });

  test('refuses a source that became a link out of the roots', async () => {
    await rename(at('inside/model'), at('outside/model'));
    await symlink('../outside/model', at('inside/model'));
    expect(await refusal(run(files))).toBe(
      'The source /inside/model lies outside the folders of INGEST_ROOTS.',
    );
  });

  test('refuses a folder of the target that became a link out of the roots', async () => {
    await run(['b']);
    await symlink('../../outside', at('inside/out/lod'));
    expect(await refusal(run(files))).toBe('The target of lod/a lies outside the folders of INGEST_ROOTS.');
    expect(await readdir(at('outside'))).toEqual([]);
  });

  test('refuses what is gone, became a folder, or was never below the source', async () => {
    expect(await refusal(run(['none']))).toBe('The file none has vanished.');
    expect(await refusal(run(['lod']))).toBe('The file lod is not a regular file.');
    expect(await refusal(run(['../other']))).toBe('The file ../other is not a path below the source.');
  });
});

async function* results() {
  yield { taskId: '1', key: 'batch-0001', result: { files: 2, bytes: 10, skipped: 0, checksum: 'aa' } };
  yield { taskId: '2', key: 'batch-0002', result: { files: 1, bytes: 5, skipped: 1, checksum: 'bb' } };
}

test('the summary adds the batches up in their order', async () => {
  const sum = { files: 3, bytes: 15, skipped: 1, checksum: sha256('aabb') };
  expect(await ingest.summarize(jobOf(), results())).toEqual(sum);
});

describe('the catalog entry', () => {
  test('has the id of the model and its metadata', () => {
    const metadata = { productName: 'City', tilesetFilename: 'lod/root.json' };
    expect(ingest.catalog(jobOf({ modelId: 'city', metadata }))).toEqual({
      id: 'city',
      metadata,
      links: [{ path: 'city/lod/root.json' }],
    });
  });

  test('has the id of the job and the usual tileset unless given', () => {
    expect(ingest.catalog(jobOf())).toEqual({
      id: 'job-1',
      metadata: {},
      links: [{ path: 'job-1/tileset.json' }],
    });
  });
});
