import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

const run = promisify(execFile);

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let folder: string;

beforeAll(async () => {
  await mkdir('.longhaul', { recursive: true });
  // Below the repository, so that its packages are found.
  [database, folder] = await Promise.all([createTestDatabase(), mkdtemp('.longhaul/client-')]);
  service = await startService(serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE: 'api' }));
  alice = await apiUser(service, 'alice');
  await writeFile(join(folder, 'openapi.json'), await (await fetch(`${service.url}/openapi.json`)).text());
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await Promise.all([database?.drop(), rm(folder, { recursive: true, force: true })]);
});

/** What must not compile: the compiler complains of a mark above a line that does. */
const WRONG = `
import createClient from 'openapi-fetch';
import type { paths } from './schema.js';
const api = createClient<paths>({ baseUrl: '' });
type Submit = paths['/jobs']['post']['requestBody']['content']['application/json'];
// @ts-expect-error -- no such field
export const submit: Submit = { type: 'demo.wait', numTasks: 1 };
// @ts-expect-error -- no number
void api.POST('/jobs', { body: { numTask: 'one' } });
// @ts-expect-error -- no such route
void api.GET('/job');
// @ts-expect-error -- no such method
void api.PUT('/jobs', {});
// @ts-expect-error -- no such parameter
void api.GET('/jobs', { params: { query: { offset: 1 } } });
// @ts-expect-error -- which one?
void api.GET('/jobs/{jobId}', {});
const { data, error } = await api.GET('/jobs/{jobId}', { params: { path: { jobId: 'x' } } });
// @ts-expect-error -- no such field
export const state = data?.state;
// @ts-expect-error -- no such state
export const done = data?.status === 'done';
// @ts-expect-error -- no such field
export const code = error?.code;
`;

/** The program that the page of the API shows. */
async function shownProgram(): Promise<string> {
  const page = await readFile('docs/api.md', 'utf8');
  const [, program] = /```ts\n(import createClient[^]+?)```/.exec(page) ?? [];
  if (program === undefined) throw new Error('docs/api.md shows no client.');
  return program;
}

test('a client generated from the document submits, pages and cancels, and its types are checked', async () => {
  for (let count = 0; count < 4; count++) await alice.submit({ type: 'demo.wait', numTask: 1 });
  const files = {
    'client.ts': await shownProgram(),
    'wrong.ts': WRONG,
    'package.json': JSON.stringify({ type: 'module' }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        target: 'es2023',
        module: 'nodenext',
        strict: true,
        exactOptionalPropertyTypes: true,
        noUnusedLocals: true,
        skipLibCheck: true,
        types: ['node'],
      },
      include: ['*.ts'],
    }),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const [document, schema] = [join(folder, 'openapi.json'), join(folder, 'schema.d.ts')];
  await run('node_modules/.bin/openapi-typescript', [document, '-o', schema]);
  // What it complains of is what it prints.
  const complaints = await run('node_modules/.bin/tsc', ['-p', folder]).then(
    () => '',
    ({ stdout }: { stdout: string }) => stdout,
  );
  expect(complaints).toBe('');
  const env = { ...process.env, LONGHAUL_URL: service.url, LONGHAUL_KEY: alice.key, NODE_OPTIONS: '' };
  const { stdout } = await run(process.execPath, [join(folder, 'client.js')], { env });
  const [, jobId, count] = /^(\S+) is canceled, one of (\d+)\n$/.exec(stdout) ?? [];
  expect([stdout, count]).toEqual([stdout, '5']);
  const { body } = await alice.get(`/jobs/${jobId}`);
  expect(body).toMatchObject({ status: 'canceled', cancelReceipt: { reason: 'wrong data' } });
}, 240_000);

/** In a process of its own, which loads it sooner than the one of the tests would. */
const LINT = `
import { createConfig, lint } from '@redocly/openapi-core';
const config = await createConfig({ extends: ['recommended'] });
const problems = await lint({ ref: process.argv[1], config });
const lines = problems.map((one) => [one.severity, one.ruleId, one.location[0]?.pointer].join(' '));
process.stdout.write(JSON.stringify(lines));
`;

test('a linter of OpenAPI documents finds nothing wrong with it', async () => {
  const document = join(process.cwd(), folder, 'openapi.json');
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', LINT, document]);
  // What is public refuses nobody who asks for it.
  const open = /^warn operation-4xx-response #\/paths\/~1(health~1live|health~1ready|metrics)\/get/;
  const told = JSON.parse(stdout) as string[];
  expect(told.filter((line) => !open.test(line))).toEqual([]);
}, 120_000);
