import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Channel } from '@app/engine/notifications/channel.js';
import { DeliveryLane } from '@app/engine/notifications/delivery-lane.js';
import { createLogger } from '@app/platform/observability/logger.js';
import type { Database, PrismaClient } from '@app/platform/prisma/database.js';
import { openStore, type Store } from '../store/store-fixture.js';

let store: Store;
let client: PrismaClient;

beforeAll(async () => {
  store = await openStore(1);
  [client] = store.clients as [PrismaClient];
});
afterAll(() => store.close());

test('a channel that never comes to an end keeps no process from stopping', async () => {
  let begun = 0;
  const channel: Channel = {
    kind: 'webhook',
    atOnce: 2,
    perRecipient: 2,
    perOwner: 2,
    send: () => {
      begun++;
      return new Promise(() => {});
    },
    close: () => {},
  };
  await client.$executeRaw`INSERT INTO deliveries (id, kind, owner_id, recipient, event, data)
    SELECT gen_random_uuid(), 'webhook', 'ann', 'x', 'job.failed', '{}' FROM generate_series(1, 2)`;
  const lane = new DeliveryLane(channel, { main: client } as unknown as Database, createLogger('fatal'), {
    leaseMs: 60_000,
    retryMs: 10,
    hide: (text) => text,
    tried: () => {},
    room: () => {},
  });
  await lane.look();
  expect(begun).toBe(2);
  await lane.stop(0);
  // It is left to others when its turn is over.
  const [left] = await client.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS count FROM deliveries WHERE status = 'waiting' AND trying AND look_again_at > now()`;
  expect(left?.count).toBe(2);
});
