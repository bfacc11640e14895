import { noteStops } from '@app/engine/store/cancel-stops.js';
import { endExit as writeEnd, renewExit, takeDueExits } from '@app/engine/store/exit-hooks.js';
import { passByStrangeExits } from '@app/engine/store/strange-exits.js';
import { type Call, makeAllDue } from './call.js';
import { endExit, endStrange, holdsExit, noteStop, type OpenStop, takeExits } from './exit-moves.js';
import type { Turn } from './model.js';

export { openStopsOf } from './exit-moves.js';

const HOUR = 3_600_000;
const nameOf = ({ jobId, epoch, generation }: Turn) =>
  `exit turn ${epoch} of ${jobId} (generation ${generation})`;

export const noteStopCall = (stop: OpenStop): Call => ({
  label: `${stop.taskId} has stopped (generation ${stop.generation})`,
  expect: (model) => (noteStop(model, stop), null),
  perform: async (client) => {
    await noteStops(client, [{ taskId: stop.taskId, generation: stop.generation, stage: 'stopped' }]);
    return null;
  },
});

/** @param anew whether what waits for its time is made to come first. */
export const takeExitsCall = (anew = true): Call => ({
  label: 'take exits',
  expect: (model) => takeExits(model, anew),
  perform: async (client) => {
    if (anew) await makeAllDue(client);
    // Longer than any run: what still runs holds an exit up until it is told that it has stopped.
    const taken = await takeDueExits(client, [{ name: 'test.type', version: 1, graceMs: HOUR }], 100, HOUR);
    return taken
      .map(({ jobId, epoch, generation, status }) => `${jobId} ${epoch} ${generation} ${status}`)
      .toSorted();
  },
});

export const endExitCall = (turn: Turn, failed: boolean): Call => ({
  label: `${nameOf(turn)} ends`,
  expect: (model) => endExit(model, turn),
  perform: (client) => writeEnd(client, turn, 'worker:test', failed ? 'it broke' : null),
});

export const handBackCall = (turn: Turn): Call => ({
  label: `${nameOf(turn)} is handed back`,
  expect: (model) => holdsExit(model, turn),
  perform: (client) => renewExit(client, turn, 0),
});

/** @param over whether nobody has had the job type for long enough; else exits are passed by, and stay as they are. */
export const strangeExitsCall = (over: boolean): Call => ({
  label: over ? 'exits of a type that nobody has are ended' : 'exits of a type that nobody has are passed by',
  expect: (model) => (over ? endStrange(model) : []),
  perform: async (client) => {
    await makeAllDue(client);
    const policy = { dueMs: -HOUR, pauseMs: 0, passes: 0, limitMs: over ? -HOUR : HOUR, most: 100 };
    return (await passByStrangeExits(client, [], policy)).toSorted();
  },
});
