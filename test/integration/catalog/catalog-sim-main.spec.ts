import { afterEach, describe, expect, it } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

const MAIN = new URL('../../../apps/catalog-sim/src/main.ts', import.meta.url).pathname;
let child: ChildProcess | undefined;
afterEach(() => {
  child?.kill('SIGKILL');
});

/** Starts the program; `said` collects what it prints. */
function run(env: Record<string, string>): { process: ChildProcess; said: () => string } {
  const { NODE_OPTIONS: _unwanted, ...inherited } = process.env;
  const started = spawn(process.execPath, ['--import', '@swc-node/register/esm-register', MAIN], {
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  let text = '';
  for (const stream of [started.stdout, started.stderr])
    stream.on('data', (chunk) => (text += String(chunk)));
  return { process: started, said: () => text };
}

describe('the catalog as a program', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'serves, and ends cleanly on %s while a call hangs',
    async (signal) => {
      const { process: program, said } = run({ PORT: '0' });
      while (!said().includes('listening on ')) await once(program.stdout!, 'data');
      const url = /listening on (\S+)/.exec(said())?.[1];
      expect((await fetch(`${url}/health`)).status).toBe(200);
      await fetch(`${url}/_sim/faults`, { method: 'POST', body: JSON.stringify({ mode: 'hang-body' }) });
      const hanging = await fetch(`${url}/metadata`);
      program.kill(signal);
      expect(await once(program, 'exit')).toEqual([0, null]);
      await expect(hanging.text()).rejects.toThrow('terminated');
    },
  );

  it.each(['abc', '65536'])('ends with 1 and names PORT when it is %s', async (port) => {
    const { process: program, said } = run({ PORT: port });
    expect(await once(program, 'close')).toEqual([1, null]);
    expect(said()).toBe('PORT must be a whole number from 0 to 65535.\n');
  });

  it('ends with 1 and names PORT when it is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { process: program, said } = run({ PORT: String((other.address() as AddressInfo).port) });
    expect(await once(program, 'close')).toEqual([1, null]);
    expect(said()).toMatch(/PORT \d+: EADDRINUSE/);
    other.close();
  });
});
