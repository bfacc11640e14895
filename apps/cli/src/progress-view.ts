import { SingleBar } from 'cli-progress';
import type { Job } from './api-answers.js';
import { barLine, type LineOf, textLine } from './progress-line.js';
import type { Output } from './surroundings.js';

const WAITING = 'waiting for the service';

/** What shows how far a job is. */
export interface ProgressView {
  show(progress: LineOf): void;
  /** The service does not answer for the time being. */
  wait(): void;
  /** Leaves the last state and the terminal in order. */
  close(): void;
}

/** A bar on a terminal, a line for each change elsewhere. */
export function openView(out: Output, job: Job): ProgressView {
  return out.isTTY ? openBar(out, job) : openLines(out, job);
}

function openBar(out: Output, job: Job): ProgressView {
  let shown: LineOf = job;
  const bar = new SingleBar({
    stream: out,
    // Called ten times a second, so that the clock runs between two answers.
    format: (_options, { maxWidth }) => barLine(job.type, shown, maxWidth),
    hideCursor: true,
    // Cut to the width by the library, rather than by a mode of the terminal that would have to be taken back.
    linewrap: true,
    gracefulExit: false,
  });
  bar.start(100, job.progress);
  const show = (progress: LineOf) => {
    shown = progress;
    bar.update(progress.progress);
  };
  return { show, wait: () => show({ ...shown, note: WAITING }), close: () => bar.stop() };
}

function openLines(out: Output, job: Job): ProgressView {
  let shown: LineOf = job;
  let last = '';
  const show = (progress: LineOf) => {
    shown = progress;
    const { status, note, tasks } = progress;
    const seen = JSON.stringify([status, note, progress.progress, tasks]);
    if (seen !== last) out.write(`${textLine(job.type, progress)}\n`);
    last = seen;
  };
  show(job);
  return { show, wait: () => show({ ...shown, note: WAITING }), close: () => {} };
}
