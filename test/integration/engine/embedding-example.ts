import type { Jobs } from '@app/engine/jobs.js';
import type { PrismaClient } from '@app/platform/prisma/database.js';

/** Writes an order together with the job that ships it: both are there, or neither is. */
export async function placeOrder(prisma: PrismaClient, jobs: Jobs, item: string) {
  return prisma.$transaction(async (tx) => {
    const [order] = await tx.$queryRaw<{ id: number }[]>`
      INSERT INTO orders (item) VALUES (${item}) RETURNING id`;
    const { job } = await jobs.submit(
      { type: 'orders.ship', payload: { orderId: order?.id ?? 0 } },
      { ownerId: 'shop', actor: 'orders' },
      { tx, idempotencyKey: `order-${order?.id}` },
    );
    return { orderId: order?.id, jobId: job.jobId };
  });
}
