import { existsSync } from 'node:fs';
import { measureCancelLatency } from './cancel-latency.js';
import { measureDueTimes } from './due-times.js';
import { measureEngine } from './engine.js';
import { measureSchedules } from './schedules.js';
import { measureFairness } from './fairness.js';
import { measureHttp } from './http.js';
import { measureLean } from './lean.js';
import { measureLive } from './live.js';

const BENCHMARKS: Record<string, { about: string; run: () => Promise<void> }> = {
  engine: { about: 'jobs accepted and tasks drained per second, beside bare BullMQ', run: measureEngine },
  due: { about: 'how late jobs with a time begin', run: measureDueTimes },
  fair: {
    about: 'how long a flood of one owner keeps another back, and how true an estimate is',
    run: measureFairness,
  },
  http: {
    about: 'submits and lists with a million jobs, beside a route that does nothing',
    run: measureHttp,
  },
  lean: { about: 'how fast tasks with a record could be at all, beside bare BullMQ', run: measureLean },
  schedules: { about: 'how late the slots of 10,000 schedules fire', run: measureSchedules },
  live: {
    about: 'how soon a thousand sockets hear of a thousand tasks a second, and what a socket costs',
    run: measureLive,
  },
  cancel: { about: 'how long a cancel takes to reach two workers', run: measureCancelLatency },
};

const [name = ''] = process.argv.slice(2);
const benchmark = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;
if (!benchmark) {
  console.error('Usage: npm run bench -- <name>\n');
  for (const [name, { about }] of Object.entries(BENCHMARKS)) console.error(`  ${name.padEnd(11)}${about}`);
  process.exitCode = 2;
} else if (!existsSync('dist/apps/service/src/main.js')) {
  console.error('There is nothing to measure yet: run npm run build first.');
  process.exitCode = 1;
} else {
  await benchmark.run();
}
