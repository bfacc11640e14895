import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../../scripts/local/free-port.js';
import { hasEnded } from '../../scripts/local/processes.js';
import { eventually } from '../support/eventually.js';

// What the README tells a newcomer to run, on a folder and a port of its own. The runs follow each other on one folder.
const MAIN = ['--import', '@swc-node/register/esm-register', 'scripts/quickstart/main.ts'];
const LAST_LINE =
  /^completed: \d{4} files, \d+\.\d MB \(\d{7} bytes\), in \d+\.\d seconds; catalog record rxjs-\d+\.\d+\.\d+$/;
const A_RUN_MS = 240_000;

interface Run {
  process: ChildProcess;
  /** Everything that it has said so far. */
  said: string;
  exited: Promise<unknown[]>;
}

let folder: string;
let port: number;
const runs: Run[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-quickstart-'));
  port = await freePort();
});
afterEach(async () => {
  for (const { process, exited } of runs.splice(0)) {
    process.kill('SIGTERM');
    await exited;
  }
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

function quickstart(...args: string[]): Run {
  return quickstartOn(folder, ...args);
}

function quickstartOn(dir: string, ...args: string[]): Run {
  const env = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    PORT: String(port),
    LONGHAUL_DIR: dir,
  };
  // A group of its own, as a terminal gives to a command: Ctrl-C reaches all of it.
  const child = spawn(process.execPath, [...MAIN, ...args], {
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Run = { process: child, said: '', exited: once(child, 'close') };
  for (const output of [child.stdout, child.stderr])
    output?.setEncoding('utf8').on('data', (text: string) => (run.said += text));
  runs.push(run);
  return run;
}

async function says(run: Run, what: string | RegExp): Promise<void> {
  const seen = () => {
    expect(run.said).toMatch(what);
  };
  await eventually(() => hasEnded(run.process) || seen(), { timeout: A_RUN_MS });
  seen();
}

const linesOf = ({ said }: Run) => said.trimEnd().split('\n');

/** Where the system tells of processes: those that name the folder, work in it or were given it. */
async function processesOfTheFolder(): Promise<string[]> {
  const found = await Promise.all(
    (await readdir('/proc'))
      .filter((name) => /^\d+$/.test(name))
      .map(async (pid) => {
        const files = ['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8'));
        const marks = [...files, readlink(`/proc/${pid}/cwd`)].map((mark) => mark.catch(() => ''));
        const [command = '', ...rest] = await Promise.all(marks);
        return [command, ...rest].some((mark) => mark.includes(folder)) ? `${pid} ${command}` : '';
      }),
  );
  return found.filter((each) => each !== '');
}

/** What a user does who has read what the quickstart says: dev.json has the key. */
async function submit(body: unknown): Promise<Record<string, unknown>> {
  const { url, apiKey } = JSON.parse(await readFile(join(folder, 'dev.json'), 'utf8')) as Record<
    string,
    string
  >;
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const response = await fetch(`${url}/jobs`, { method: 'POST', headers, body: JSON.stringify(body) });
  expect(response.status).toBe(201);
  return (await response.json()) as Record<string, unknown>;
}

async function expectNothingLeft(): Promise<void> {
  for (const file of ['stack.lock', 'stack.lock.old', 'dev.json'])
    expect([file, existsSync(join(folder, file))]).toEqual([file, false]);
  if (process.platform === 'linux') expect(await processesOfTheFolder()).toEqual([]);
}

describe('the quickstart', () => {
  test(
    'that gets Ctrl-C in the middle of its tour ends everything that it has started',
    async () => {
      const run = quickstart('--exit');
      await says(run, /\d\/\d+ tasks {2}active/);
      if (process.platform === 'linux') expect((await processesOfTheFolder()).length).toBeGreaterThan(2);
      // More than the next tour could wait for. Two, for that of the tour may have ended when it is stopped.
      const long = { type: 'demo.wait', numTask: 50, payload: { durationMs: 3_600_000 } };
      for (let nth = 0; nth < 2; nth++) await submit(long);
      process.kill(-(run.process.pid ?? 0), 'SIGINT');
      expect(await run.exited).toEqual([null, 'SIGINT']);
      expect(linesOf(run).at(-1)).toBe('Stopping.');
      await expectNothingLeft();
    },
    A_RUN_MS,
  );

  test(
    'does it all on what an earlier run has left, and refuses a second one meanwhile',
    async () => {
      const run = quickstart('--exit');
      await says(run, 'The service answers');

      const second = quickstart('--exit');
      const exited = await second.exited;
      // If the first one has ended by then, what it said tells why.
      expect([hasEnded(run.process) ? run.said : '', ...exited]).toEqual(['', 1, null]);
      expect(linesOf(second).at(-1)).toMatch(
        /^Port \d+ is in use: stop what uses it, or choose another, as in /,
      );
      expect(second.said).not.toContain(' at ');

      expect(await run.exited).toEqual([0, null]);
      expect(run.said).not.toContain('Initialising');
      expect(run.said).toMatch(/^Canceling [23] jobs that an earlier quickstart left unfinished\.$/m);
      expect(run.said).toMatch(/files\.ingest +100 % +(\d+)\/\1 tasks +completed/);
      expect(run.said).toMatch(/demo\.wait +\d\d % .* canceled/);
      expect(run.said).toContain('Try next: ');
      expect(linesOf(run).at(-1)).toMatch(LAST_LINE);
      await expectNothingLeft();
    },
    A_RUN_MS,
  );

  (process.platform === 'linux' ? test : test.skip)(
    'says at once that nothing can be made in its folder',
    async () => {
      const run = quickstartOn('/proc/x', '--exit');
      expect(await run.exited).toEqual([1, null]);
      expect(linesOf(run).at(-1)).toBe(
        'The folder /proc/x cannot be made or written (ENOENT): choose another with LONGHAUL_DIR.',
      );
    },
    A_RUN_MS,
  );

  test('says how it is used when it is asked for something else', async () => {
    const run = quickstart('--nonsense');
    expect(await run.exited).toEqual([2, null]);
    expect(run.said).toBe('"--nonsense" is not known. Usage: npm run quickstart [-- --exit]\n');
  });
});
