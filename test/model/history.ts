import { shortIds, type JobView, type View } from './view.js';

/** What must hold of any one view, and from one to the next; knows nothing of the model. */
export class History {
  private before: View | undefined;

  /** The same history, to go on from more than once. */
  copy(): History {
    return Object.assign(new History(), this);
  }

  /** Takes the next view and answers what does not hold. */
  faults(view: View & { ledger: string[] }): string[] {
    const faults = [...view.jobs.flatMap((job) => jobFaults(job, view)), ...fenceFaults(view.ledger)];
    if (this.before) faults.push(...stepFaults(this.before, view));
    this.before = view;
    return faults.map(shortIds);
  }
}

const broken = (rules: Record<string, boolean>, of: string) =>
  Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [`not so: ${rule} (${of})`]));

function jobFaults(job: JobView, view: View & { ledger: string[] }): string[] {
  const tasks = view.tasks.filter((task) => task.job === job.id && task.kind === 'task');
  const having = (status: string) => tasks.filter((task) => task.status === status).length;
  const ofJob = (lines: string[]) => lines.filter((line) => line.startsWith(job.id));
  const ledger = ofJob(view.ledger).map((line) => {
    const [, generation, version, kind] = / (\d+)\/(\d+) (\S+)/.exec(line) ?? [];
    return { generation: Number(generation), version: Number(version), kind: kind ?? '' };
  });
  const ends = ledger.filter(({ kind }) => /^job\.(completed|failed|canceled)$/.test(kind));
  const exits = ledger.filter(({ kind }) => kind === 'job.exited');
  const mean =
    tasks.length === 0 ? 0 : Math.floor(tasks.reduce((sum, task) => sum + task.progress, 0) / tasks.length);
  const [total, ...ended] = job.counts;
  const open = tasks.length - having('completed') - having('failed') - having('canceled');
  return broken(
    {
      'counts add up':
        total === tasks.length &&
        ended[0] === having('completed') &&
        ended[1] === having('failed') &&
        ended[2] === having('canceled'),
      'an ended job has no dispatch row but its exit, and no open task':
        !job.ended || (ofJob(view.dispatch).every((row) => row.includes(' exit ')) && open === 0),
      'an open job has no exit row': job.ended || !ofJob(view.dispatch).some((row) => row.includes(' exit ')),
      'one exit per generation at most':
        new Set(exits.map(({ generation }) => generation)).size === exits.length,
      '100 is shown if and only if completed': (job.progress === 100) === (job.status === 'completed'),
      'progress is at most the floor of the mean':
        job.status === 'completed' || job.progress <= Math.min(99, mean),
      'one terminal event per generation at most':
        new Set(ends.map(({ generation }) => generation)).size === ends.length,
      'an ended job has its terminal event':
        ends.some(({ generation, kind }) => generation === job.generation && kind === `job.${job.status}`) ===
        job.ended,
      'the ledger follows the version': ledger.every(
        ({ version }, at) => version <= job.version && version >= (ledger[at - 1]?.version ?? 1),
      ),
    },
    job.id,
  );
}

/** Fences that were granted are distinct and rising, for each task. */
function fenceFaults(ledger: string[]): string[] {
  const last = new Map<string, number>();
  return ledger.flatMap((line) => {
    const told = / tasks\.active (\S+)/.exec(line)?.[1]?.split(',') ?? [];
    return told.flatMap((grant) => {
      const [task = '', fence] = grant.split(':');
      const before = last.get(task) ?? 0;
      last.set(task, Number(fence));
      return Number(fence) > before ? [] : [`not so: granted fences rise (${grant} after ${before})`];
    });
  });
}

/** From one view to the next within a generation: nothing goes back, and what has ended stays as it is. */
function stepFaults(before: View, view: View): string[] {
  const faults: string[] = [];
  for (const job of view.jobs) {
    const was = before.jobs.find(({ id }) => id === job.id);
    if (!was) continue;
    const same = was.generation === job.generation;
    const rules = {
      'versions never go back': job.version >= was.version,
      'generations rise by one': job.generation === was.generation || job.generation === was.generation + 1,
      'progress never goes back': !same || job.progress >= was.progress,
      'an ended job stays as it is': !same || !was.ended || JSON.stringify(job) === JSON.stringify(was),
      // But for the result, which is stored while the job is finalized and told with its end.
      'a change raises the version':
        job.version > was.version ||
        JSON.stringify({ ...job, result: 0 }) === JSON.stringify({ ...was, result: 0 }),
    };
    faults.push(...broken(rules, job.id));
  }
  for (const task of view.tasks) {
    const was = before.tasks.find(({ id }) => id === task.id);
    if (!was) continue;
    const same = was.generation === task.generation;
    const ended = ['completed', 'failed', 'canceled'].includes(was.status);
    const rules = {
      'fences never go back': task.fence >= was.fence,
      'the progress of a task never goes back': !same || task.progress >= was.progress,
      'an ended task stays as it is': !same || !ended || JSON.stringify(task) === JSON.stringify(was),
    };
    faults.push(...broken(rules, task.id));
  }
  return faults;
}
