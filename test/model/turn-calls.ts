import {
  countCatalogCall,
  endFinalization,
  postponeFinalization,
  storeCatalogCall,
  takeDueFinalizations,
} from '@app/engine/store/finalization.js';
import { noteOverdueFinalizations } from '@app/engine/store/overdue-finalizations.js';
import { resolveJob } from '@app/engine/store/resolve-job.js';
import { type Call, makeAllDue } from './call.js';
import type { ModelJob, Turn } from './model.js';
import { countCall, endTurn, noteOverdue, postpone, resolve, storeCall, takeTurns } from './turn-moves.js';

const nameOf = ({ jobId, epoch, generation }: Turn) => `turn ${epoch} of ${jobId} (generation ${generation})`;

/** @param anew whether what waits for its time is made to come first. */
export const takeCall = (anew = true): Call => ({
  label: 'take turns of finalization',
  expect: (model) => takeTurns(model, anew),
  perform: async (client) => {
    if (anew) await makeAllDue(client);
    const taken = await takeDueFinalizations(client, 100, 3_600_000);
    return taken
      .map(
        ({ jobId, epoch, call }) =>
          `${jobId} ${epoch} ${call ? `${call.key} ${call.attempts}` : 'nothing stored'}`,
      )
      .toSorted();
  },
});

export function storeTurn(turn: Turn): Call {
  const key = `${turn.jobId}.${turn.generation}`;
  const result = `of turn ${turn.epoch}`;
  return {
    label: `store the call, ${nameOf(turn)}`,
    expect: (model) => storeCall(model, turn, key, result),
    perform: (client) => storeCatalogCall(client, turn, { key, body: '{}' }, result),
  };
}

export const countTurn = (turn: Turn): Call => ({
  label: `count a call, ${nameOf(turn)}`,
  expect: (model) => countCall(model, turn),
  perform: (client) => countCatalogCall(client, turn),
});

export const endTurnCall = (turn: Turn, rejected: boolean): Call => ({
  label: `${rejected ? 'rejected' : 'accepted'}, ${nameOf(turn)}`,
  expect: (model) => endTurn(model, turn, rejected),
  perform: (client) => {
    const error = rejected ? { code: 'catalog_rejected' as const, message: 'no' } : null;
    return endFinalization(client, turn, 'worker:test', error);
  },
});

export const postponeTurn = (turn: Turn): Call => ({
  label: `unknown, ${nameOf(turn)}`,
  expect: (model) => (postpone(model, turn, 'unknown'), null),
  perform: async (client) => {
    await postponeFinalization(client, turn, 0, 'unknown');
    return null;
  },
});

export const resolveCall = ({ id }: ModelJob, status: 'completed' | 'failed'): Call => ({
  label: `resolve ${id} as ${status}`,
  expect: (model) => resolve(model, id, status),
  perform: async (client) =>
    (await resolveJob(client, id, { status, reason: 'no answer' }, 'key:admin')) ?? null,
});

export const overdueCall = (): Call => ({
  label: 'finalizations take too long',
  expect: noteOverdue,
  // Those that a lock was in the way of come later; in a sequence there is none.
  perform: async (client) => {
    const told = await noteOverdueFinalizations(client, -3_600_000, 100);
    return told.map(({ jobId }) => jobId).toSorted();
  },
});
