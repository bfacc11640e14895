import type { Random } from './harness/random.js';
import type { Servers } from './harness/servers.js';
import { closeForGood } from './harness/services.js';
import { World } from './harness/world.js';
import { checkHistory } from './check-history.js';
import { figuresOf } from './figures.js';
import type { Evidence } from './evidence.js';
import type { Scenario } from './scenario.js';

/** What became of a scenario, in words. */
export interface Report {
  ok: boolean;
  lines: string[];
  /** What the processes of the service have logged. */
  logs: string[];
  /** What the judgement rests on. */
  evidence: Evidence;
}

/** Violations that are told one by one; the others are counted. */
const TOLD = 12;
const WORKERS = 3;
let running: World | undefined;

/** Ends what a scenario has started, when the run is interrupted. */
export async function abandonRunning(): Promise<void> {
  closeForGood();
  await running?.abandon();
  running = undefined;
}

/** Plays one scenario to its end and judges it. */
export async function runScenario(
  scenario: Scenario,
  on: { folder: string; servers: Servers; main: string; random: Random; ci: boolean },
): Promise<Report> {
  const { name, environment = {} } = scenario;
  const workers = on.ci ? (scenario.workers ?? WORKERS) : WORKERS;
  const begun = Date.now();
  const problems: string[] = [];
  const world = await World.start({ ...on, name, workers, environment });
  running = world;
  await scenario.run(world).catch((error: Error) => problems.push(error.message));
  const { recoverMs, waitedFor } = await world.untilQuiet(scenario.boundMs);
  if (recoverMs === undefined) problems.push(`It was not quiet within ${scenario.boundMs} ms.`);
  else await scenario.after?.(world).catch((error: Error) => problems.push(error.message));
  for (const { name, leftByItself } of world.services.all)
    if (leftByItself) problems.push(`${name} ended, and nobody had asked it to.`);
  const evidence = await world.end();
  running = undefined;
  const logs = world.services.all.flatMap((service) => service.log);
  const violations = checkHistory(evidence);
  for (const { rule, subject, detail } of violations.slice(0, TOLD))
    problems.push(`${rule}: ${subject}: ${detail}`);
  if (violations.length > TOLD) problems.push(`… and ${violations.length - TOLD} more violations`);
  const figures = figuresOf(evidence, violations, logs, recoverMs);
  const ok = problems.length === 0;
  const seconds = ((Date.now() - begun) / 1000).toFixed(0);
  const told = Object.entries(figures).map(([key, value]) => `${key} ${value}`);
  const lines = [
    `${ok ? 'passed' : 'FAILED'}  ${name} (${seconds} s): ${scenario.what}`,
    `        ${told.join(', ')}`,
    ...world.told.map((line) => `        ${line}`),
    ...(waitedFor ? [`        15 s after the last fault it still waited for: ${waitedFor}`] : []),
    ...problems.map((problem) => `        ! ${problem}`),
  ];
  return { ok, lines, logs, evidence };
}
