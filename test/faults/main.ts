import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileService } from '../support/compile-service.js';
import { Random } from './harness/random.js';
import { Servers } from './harness/servers.js';
import { runScenario, abandonRunning } from './run-scenario.js';
import { SCENARIOS } from './scenarios/all.js';

const { values } = parseArgs({
  options: {
    ci: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const chosen = SCENARIOS.filter(({ name, ci }) => (values.only ? name === values.only : !values.ci || ci));
if (chosen.length === 0) {
  print(`There is no such scenario; there are: ${SCENARIOS.map(({ name }) => name).join(', ')}`);
  process.exit(1);
}

const seed = Number(values.seed);
print(`seed ${seed}; the same schedule again with --seed ${seed}`);
const folder = await mkdtemp(join(tmpdir(), 'longhaul-faults-'));
let servers: Promise<Servers> | undefined;
let ending: Promise<void> | undefined;
let [passed, failed] = [0, 0];

async function end(): Promise<void> {
  await abandonRunning();
  // Also when they are only just starting: nothing of ours may stay behind.
  await (await servers?.catch(() => undefined))?.stop();
  if (values.keep) print(`The records of the run are in ${folder}.`);
  else await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    ending ??= end();
    void ending.finally(() => process.exit(130));
  });
}

try {
  await mkdir(join(folder, 'build/code'), { recursive: true });
  const main = await compileService(join(folder, 'build/code'));
  servers = Servers.start(join(folder, 'servers'));
  const running = await servers;
  for (const scenario of chosen) {
    if (ending) break;
    // Of its own for each, so that a scenario alone meets the same schedule as among the others.
    const random = new Random(seed + SCENARIOS.indexOf(scenario));
    const { ok, lines, logs, evidence } = await runScenario(scenario, {
      folder,
      servers: running,
      main,
      random,
      ci: values.ci,
    });
    if (values.keep) {
      await writeFile(join(folder, scenario.name, 'services.log'), `${logs.join('\n')}\n`);
      await writeFile(join(folder, scenario.name, 'evidence.json'), JSON.stringify(evidence, undefined, 1));
    }
    lines.forEach(print);
    if (ok) passed++;
    else failed++;
  }
} catch (error) {
  failed++;
  if (!ending) print(`The run broke off: ${(error as Error).message}`);
}
if (ending) await ending;
else await end();
print(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
