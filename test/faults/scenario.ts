import type { LoadJob } from './harness/load.js';
import type { World } from './harness/world.js';

/** One way in which the world goes wrong. */
export interface Scenario {
  name: string;
  /** Whether it is small enough for every run of the pipeline. */
  ci: boolean;
  /** What happens, and what must hold all the same; one sentence. */
  what: string;
  /** Workers in the pipeline, where every process costs seconds to start; default 3, as everywhere else. */
  workers?: number;
  /** More settings of the service, by the names of their variables. */
  environment?: Record<string, string>;
  /** How long the system may take to become quiet after `run`. */
  boundMs: number;
  /** Load and faults. Settles when the last fault is over and the load is in; throws when a fault did not bite. */
  run(world: World): Promise<void>;
  /** More that must hold when the system is quiet; throws what does not. */
  after?(world: World): Promise<void>;
}

/** Jobs of every kind in turn: many tasks, a plan, a checkpoint, the Catalog. */
export function mixedJobs(count: number, scale = 1): LoadJob[] {
  const kinds: LoadJob[] = [
    { type: 'fault.work', payload: { durationMs: 200 * scale }, numTask: 5 },
    { type: 'fault.work', payload: { durationMs: 100 * scale }, catalog: true },
    { type: 'fault.resume', payload: { steps: 4, stepMs: 80 * scale } },
    { type: 'fault.plan', payload: { count: 8, durationMs: 30 * scale } },
    { type: 'fault.work', payload: { durationMs: 300 * scale }, numTask: 2, catalog: true },
  ];
  return Array.from({ length: count }, (_, nth) => kinds[nth % kinds.length] as LoadJob);
}
