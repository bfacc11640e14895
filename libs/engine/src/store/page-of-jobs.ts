/** The first jobs of a page, as many as have so many tasks in all; one at least. */
export function firstWithin<J extends { tasks: number }>(jobs: J[], mostTasks: number): J[] {
  let tasks = 0;
  const after = jobs.findIndex((job, at) => {
    tasks += job.tasks;
    return tasks > mostTasks && at > 0;
  });
  return jobs.slice(0, after === -1 ? jobs.length : after);
}
