import type { Scenario } from '../scenario.js';
import { catalogDrops } from './catalog-drops.js';
import { flushRedis } from './flush-redis.js';
import { killWhileClaiming } from './kill-while-claiming.js';
import { killWorkers } from './kill-workers.js';
import { lateWrites } from './late-writes.js';
import { liveUpdates } from './live-updates.js';
import { lostReplies } from './lost-replies.js';
import { oneKiller } from './one-killer.js';
import { postgresAway } from './postgres-away.js';
import { replaceRedis } from './replace-redis.js';
import { restartPostgres } from './restart-postgres.js';
import { rollingRestart } from './rolling-restart.js';
import { schedules } from './schedules.js';
import { slowNetwork } from './slow-network.js';
import { zombie } from './zombie.js';

/** Every scenario, in the order in which they are run. */
export const SCENARIOS: Scenario[] = [
  killWorkers,
  killWhileClaiming,
  flushRedis,
  replaceRedis,
  zombie,
  lateWrites,
  restartPostgres,
  postgresAway,
  lostReplies,
  rollingRestart,
  catalogDrops,
  slowNetwork,
  oneKiller,
  schedules,
  liveUpdates,
];
