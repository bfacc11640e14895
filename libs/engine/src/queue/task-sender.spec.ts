import { setImmediate } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import type { Queue } from 'bullmq';
import { createLogger } from '@app/platform/observability/logger.js';
import type { Redis } from '@app/platform/redis/redis.js';
import type { Delivery } from '../store/dispatch.js';
import { readMessageId, TaskSender } from './task-sender.js';

const delivery = (taskId: string): Delivery => ({ taskId, kind: 'task', queue: 'default', epoch: 1 });

// No real Redis can be made to answer at one certain turn of the queue of promises.
test.each(Array.from({ length: 12 }, (_, turns) => turns))(
  'what comes %d turns after the last batch was taken is sent too',
  async (turns) => {
    const sent: string[] = [];
    let later: () => void;
    const queue = {
      addBulk: async (messages: { opts: { jobId: string } }[]) => {
        sent.push(...messages.map(({ opts }) => opts.jobId));
        if (sent.length === 1) later();
      },
    };
    const redis = { ready: true, incarnation: async () => 'life' };
    const sender = new TaskSender(
      new Map([['default', queue as unknown as Queue]]),
      redis as unknown as Redis,
      createLogger('fatal'),
    );
    await sender.refreshIncarnation();
    later = () => {
      let turn = Promise.resolve();
      for (let nth = 0; nth < turns; nth++) turn = turn.then(() => undefined);
      void turn.then(() => sender.sendSoon([delivery('second')]));
    };
    sender.sendSoon([delivery('first')]);
    for (let nth = 0; nth < 5; nth++) await setImmediate();
    expect(sent).toEqual(['first.1', 'second.1']);
  },
);

const TASK = '019a0000-0000-7000-8000-000000000000';

test('the id of a message is read back', () => {
  expect(readMessageId(`${TASK}.7`)).toEqual({ taskId: TASK, epoch: 7 });
});

test.each([
  '',
  'x',
  TASK,
  `${TASK}.`,
  `${TASK}.x`,
  `${TASK}.-1`,
  `${TASK}.1.1`,
  `${TASK}.9999999999`,
  `${TASK}.1e3`,
  `${TASK.toUpperCase()}x.1`,
  `${'-'.repeat(36)}.1`,
  `${TASK}.1\n`,
])('input 91: %j is the id of none of our messages', (id) => {
  expect(readMessageId(id)).toBeUndefined();
});
