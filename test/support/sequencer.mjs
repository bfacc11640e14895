import Sequencer from '@jest/test-sequencer';

/**
 * The files that take longest, some 20 s and more. On a clone that has no durations of an earlier run yet, Jest begins
 * with the files of most bytes, and these are small: begun last, each would leave a processor idle to its end. The
 * image computes all the time; what goes beside it mostly waits.
 */
const LONGEST = [
  'image.e2e-spec.ts',
  'sync-jobs.int-spec.ts',
  'policies.int-spec.ts',
  'sandbox.int-spec.ts',
  'roles.e2e-spec.ts',
  'suspects.int-spec.ts',
  'processes.int-spec.ts',
  'quickstart.e2e-spec.ts',
  'security-live.int-spec.ts',
  'dev.e2e-spec.ts',
  'restarts.int-spec.ts',
  'fuzz.int-spec.ts',
  'model.int-spec.ts',
  'races.int-spec.ts',
];

/** Where a file comes: among the longest, or behind them. */
function place({ path }) {
  const at = LONGEST.findIndex((name) => path.endsWith(`/${name}`));
  return at < 0 ? LONGEST.length : at;
}

/** Begins with the longest files, and leaves the order of the others to Jest. */
export default class extends Sequencer {
  /** @override */
  sort(tests) {
    const byJest = super.sort([...tests]);
    return byJest.toSorted((one, other) => place(one) - place(other));
  }
}
