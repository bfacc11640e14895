import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import {
  completedResults,
  countCatalogCall,
  countOwnFailure,
  type DueFinalization,
  endFinalization,
  postponeFinalization,
  renewTurn,
  storeCatalogCall,
  takeDueFinalizations,
} from '@app/engine/store/finalization.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  dispatchRows,
  ending,
  finish,
  holding,
  jobRow,
  ledger,
  makeDue,
  openStore,
  running,
  type Store,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let other: PrismaClient;

beforeAll(async () => {
  store = await openStore();
  [one, other] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});

const CALL = { key: 'key.1', body: '{"id":"model"}' };
const finalizing = async () => {
  const { jobId, tasks } = await running(one, { tasks: 2, finalize: true });
  await finish(one, ...tasks.map((task, n) => ending(task, 'completed', { result: { n } })));
  return jobId;
};
const take = async (client: Parameters<typeof takeDueFinalizations>[0], jobId: string) =>
  (await takeDueFinalizations(client, 100, 60_000)).find((job) => job.jobId === jobId);
const turnOf = async (jobId: string): Promise<DueFinalization> => {
  await makeDue(one, jobId);
  const turn = await take(one, jobId);
  if (!turn) throw new Error('The finalization is not due.');
  return turn;
};
test('while the Catalog is spared, jobs are left alone of which only its call is left', async () => {
  const [stored, fresh] = [await finalizing(), await finalizing()];
  await storeCatalogCall(one, await turnOf(stored), CALL, null);
  for (const jobId of [stored, fresh]) await makeDue(one, jobId);
  const taken = (await takeDueFinalizations(one, 100, 60_000, false)).map(({ jobId }) => jobId);
  expect([taken.includes(stored), taken.includes(fresh)]).toEqual([false, true]);
  expect(await take(one, stored)).toMatchObject({ call: { key: CALL.key } });
});

const writes = {
  'storing the call': (turn: DueFinalization) => storeCatalogCall(one, turn, CALL, { late: true }),
  'counting a call': (turn: DueFinalization) => countCatalogCall(one, turn),
  'completing the job': (turn: DueFinalization) => endFinalization(one, turn, 'worker:test', null),
  'failing the job': (turn: DueFinalization) =>
    endFinalization(one, turn, 'worker:test', { code: 'catalog_rejected', message: 'no' }),
};

describe('finalizing a job', () => {
  test('is begun by one of those who look, and by another when the turn is over', async () => {
    const jobId = await finalizing();
    const turns = await Promise.all([take(one, jobId), take(other, jobId), take(one, jobId)]);
    const [first] = turns.filter((turn) => turn !== undefined);
    expect(turns.filter((turn) => turn !== undefined)).toHaveLength(1);
    expect(await take(one, jobId)).toBeUndefined();
    expect((await turnOf(jobId)).epoch).toBe(first!.epoch + 1);
  });

  test('stores the call once, counts each POST, and ends at 100 without a dispatch row', async () => {
    const jobId = await finalizing();
    const turn = await turnOf(jobId);
    expect(turn.call).toBeNull();
    expect(await storeCatalogCall(one, turn, CALL, { sum: 1 })).toBe(true);
    expect(await storeCatalogCall(one, turn, { ...CALL, body: 'other' }, undefined)).toBe(true);
    expect(await countCatalogCall(one, turn)).toBe(true);
    await postponeFinalization(one, turn, 30_000, 'no reply');
    expect(await take(one, jobId)).toBeUndefined();
    const next = await turnOf(jobId);
    expect(next.call).toEqual({ ...CALL, attempts: 1 });
    expect(await endFinalization(one, next, 'worker:test', null)).toBe(true);
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'completed',
      progress: 100,
      result: { sum: 1 },
      version: 4,
    });
    expect(await dispatchRows(one, jobId)).toEqual([]);
    expect((await ledger(one, jobId)).at(-1)).toBe('job.completed@4');
    expect(await endFinalization(one, next, 'worker:test', null)).toBe(false);
  });

  test('is kept by who renews the turn, and not by who had it before', async () => {
    const jobId = await finalizing();
    const turn = await turnOf(jobId);
    await makeDue(one, jobId);
    await renewTurn(one, turn, 60_000);
    expect(await take(one, jobId)).toBeUndefined();
    await postponeFinalization(one, turn, 0, 'no reply');
    await renewTurn(one, turn, 60_000);
    expect((await take(one, jobId))?.epoch).toBe(turn.epoch + 2);
  });

  test('counts the failures of its own code, and no turn that only waited', async () => {
    const jobId = await finalizing();
    for (let waited = 0; waited < 4; waited++)
      await postponeFinalization(one, await turnOf(jobId), 0, 'no reply');
    const turn = await turnOf(jobId);
    expect(await countOwnFailure(one, turn)).toBe(1);
    await postponeFinalization(one, turn, 0, 'broken');
    expect(await countOwnFailure(one, turn)).toBeUndefined();
    expect(await countOwnFailure(one, await turnOf(jobId))).toBe(2);
  });

  test('that is refused fails the job with its error, short of 100', async () => {
    const jobId = await finalizing();
    expect(await writes['failing the job'](await turnOf(jobId))).toBe(true);
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'failed',
      progress: 99,
      error: { code: 'catalog_rejected' },
    });
    expect(await one.jobEvent.findFirst({ where: { jobId, kind: 'job.failed' } })).toMatchObject({
      reason: 'catalog_rejected',
    });
  });

  test('is past the point of no return for a cancel', async () => {
    const jobId = await finalizing();
    const answer = await cancelJob(one, 'alice', jobId, { actor: 'key:test' });
    expect(answer).toEqual({ kind: 'refused', status: 'finalizing' });
  });

  test('reads the results of the completed tasks page by page, in order', async () => {
    const jobId = await finalizing();
    const [first] = await completedResults(one, jobId, -1, 1);
    expect(first).toMatchObject({ position: 0, result: { n: 0 } });
    expect(await completedResults(one, jobId, 0, 10)).toMatchObject([{ position: 1, result: { n: 1 } }]);
  });
});

describe.each(Object.entries(writes))('%s in a turn that is over', (_name, write) => {
  test('changes nothing', async () => {
    const jobId = await finalizing();
    const old = await turnOf(jobId);
    await storeCatalogCall(one, old, CALL, undefined);
    await turnOf(jobId);
    const before = [await jobRow(one, jobId), await one.catalogCall.findMany({ where: { jobId } })];
    expect(await write(old)).toBe(false);
    expect([await jobRow(one, jobId), await one.catalogCall.findMany({ where: { jobId } })]).toEqual(before);
  });

  test('changes nothing either when the next turn is begun at that very moment', async () => {
    const jobId = await finalizing();
    const old = await turnOf(jobId);
    await storeCatalogCall(one, old, CALL, undefined);
    await makeDue(one, jobId);
    const held = await holding(other, (sql) => take(sql, jobId));
    const written = write(old);
    await blocked(other);
    await held.commit();
    expect(await written).toBe(false);
    expect((await jobRow(one, jobId)).status).toBe('finalizing');
    expect(await one.catalogCall.findFirst({ where: { jobId } })).toMatchObject({ attempts: 0 });
  });
});

describe('a turn that is begun while the one before still writes', () => {
  test('sees what was written, so that no POST is made without asking first', async () => {
    const jobId = await finalizing();
    const old = await turnOf(jobId);
    await storeCatalogCall(one, old, CALL, undefined);
    await makeDue(one, jobId);
    const held = await holding(other, (sql) => countCatalogCall(sql, old));
    expect(await take(one, jobId)).toBeUndefined();
    await held.commit();
    expect((await take(one, jobId))?.call).toEqual({ ...CALL, attempts: 1 });
  });

  test('is not put off by it', async () => {
    const jobId = await finalizing();
    const old = await turnOf(jobId);
    await makeDue(one, jobId);
    const held = await holding(other, (sql) => take(sql, jobId));
    const postponed = postponeFinalization(one, old, 0, 'late');
    await blocked(other);
    await held.commit();
    await postponed;
    expect(await take(one, jobId)).toBeUndefined();
  });
});
