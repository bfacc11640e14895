import { setTimeout as delay } from 'node:timers/promises';
import type { Service } from '../harness/services.js';
import { STATEMENTS } from '../harness/statements.js';
import { mixedJobs, type Scenario } from '../scenario.js';

/** Whose replies are lost. */
const LOST = ['accept', 'claim', 'finish', 'cancel', 'ending'] as const;
const ROUNDS = 8;

/** F10: it was committed, and who asked for it never learns. */
export const lostReplies: Scenario = {
  name: 'lost-replies',
  ci: true,
  what: 'the replies to commits of accepts, claims, finishes, cancels and endings are lost, and their connections',
  workers: 2,
  boundMs: 90_000,
  async run(world) {
    const { load, services, random } = world;
    const running = load.run({
      jobs: mixedJobs(40),
      atOnce: 4,
      pauseMs: 700,
      cancelShare: 0.2,
      keyedShare: 1,
    });
    for (let round = 0; round < ROUNDS; round++) {
      await delay(800);
      const worker = random.pick(services.workers) as Service;
      const statement = random.pick([...LOST])!;
      const victim = statement === 'accept' || statement === 'cancel' ? services.api : worker;
      world.fault(`the reply to a ${statement} is lost on its way to ${victim.name}`);
      victim.postgres.swallowCommits(STATEMENTS[statement], 1);
    }
    await running;
    for (const { postgres } of services.all) postgres.heal();
    const swallowed = services.all.reduce((sum, { postgres }) => sum + postgres.swallowed, 0);
    if (swallowed < ROUNDS / 2)
      throw new Error(`Only ${swallowed} replies were lost: the fault did not bite.`);
  },
};
