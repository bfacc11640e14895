import { type Command, InvalidArgumentError } from 'commander';
import type { ApiClient } from '../api-client.js';
import { plain, plainJson } from '../plain-text.js';
import type { Schedule, Slot } from '../schedule-answers.js';
import type { Cli } from '../surroundings.js';
import { connect, type ConnectionFlags, count, jobId as id, withConnection } from './options.js';

interface TimingFlags extends ConnectionFlags {
  cron?: string;
  every?: string;
  timezone?: string;
  startAt?: string;
  endAt?: string;
}
interface CreateFlags extends TimingFlags {
  payload?: unknown;
  tasks?: number;
  maxRuns?: number;
  overlap?: string;
  misfire?: string;
  checkinMargin?: string;
}
interface PageFlags extends ConnectionFlags {
  limit?: number;
  cursor?: string;
  json?: boolean;
}

/** `npm run cli -- schedules …`: makes, shows and operates schedules. */
export function addSchedules(program: Command, cli: Cli): void {
  const schedules = program.command('schedules').description('Makes, shows and operates schedules.');
  const command = (name: string, about: string) => withConnection(schedules.command(name)).description(about);
  const ofOne = (name: string, about: string) =>
    command(name, about).argument('<scheduleId>', 'the schedule, as `schedules list` shows it', id);

  paged(command('list', 'Lists your schedules, newest first.')).action((flags: PageFlags) =>
    list(cli, flags),
  );
  ofOne('show', 'Shows a schedule.').action(async (schedule: string, flags: ConnectionFlags) => {
    cli.say(plainJson(await (await connect(cli, flags)).schedule(schedule)));
  });
  timed(command('create', 'Makes a schedule and prints its id.'))
    .argument('<name>', 'what it is called')
    .argument('<type>', 'the job type')
    .option('--payload <json>', 'the payload of its jobs', json)
    .option('--tasks <n>', 'that many tasks in each job', count)
    .option('--max-runs <n>', 'the jobs after which it ends', count)
    .option('--overlap <policy>', 'while a job of it is open: allow, skip, queue-one or cancel-other')
    .option('--misfire <policy>', 'of missed slots: skip, latest or all')
    .option('--checkin-margin <duration>', 'a job that begins later than this is late')
    .action((name: string, type: string, flags: CreateFlags) => create(cli, name, type, flags));
  timed(command('preview', 'Shows the next instants of a schedule without making it.')).action(
    async (flags: TimingFlags) => {
      const { next } = await (await connect(cli, flags)).previewSchedule(timingOf(flags));
      next.forEach((instant) => cli.say(plain(instant)));
    },
  );
  ofOne('pause', 'Lets no slot fire until it is resumed.')
    .option('--reason <text>', 'why; kept with the pause')
    .option('--until <time>', 'when it ends by itself')
    .action(
      (
        schedule: string,
        { reason, until, ...flags }: ConnectionFlags & { reason?: string; until?: string },
      ) => operate(cli, flags, (client) => client.operateSchedule(schedule, 'pause', { reason, until })),
    );
  ofOne('resume', 'Ends a pause.').action((schedule: string, flags: ConnectionFlags) =>
    operate(cli, flags, (client) => client.operateSchedule(schedule, 'resume')),
  );
  ofOne('trigger', 'Makes a job of it now and prints the id of the job.').action(
    async (schedule: string, flags: ConnectionFlags) => {
      cli.say(plain((await (await connect(cli, flags)).triggerSchedule(schedule)).jobId));
    },
  );
  ofOne('delete', 'Deletes it: nothing of it begins any more.').action(
    (schedule: string, flags: ConnectionFlags) =>
      operate(cli, flags, (client) => client.deleteSchedule(schedule), 'is deleted'),
  );
  paged(ofOne('slots', 'Lists what became of its slots, the latest first.'))
    .option('--outcome <list>', 'only slots with these outcomes, by comma')
    .action((schedule: string, flags: PageFlags & { outcome?: string }) => slots(cli, schedule, flags));
}

function timed(command: Command): Command {
  return command
    .option('--cron <expression>', 'five fields, or six with seconds first')
    .option('--every <duration>', 'the time between two slots, such as 10m')
    .option('--timezone <zone>', 'whose clocks --cron means (UTC)')
    .option('--start-at <time>', 'no slot is before it')
    .option('--end-at <time>', 'no slot is at it or later');
}

function paged(command: Command): Command {
  return command
    .option('--limit <n>', 'the most to show (50, at most 200)', count)
    .option('--cursor <cursor>', 'where an earlier list ended')
    .option('--json', 'prints the answer of the service');
}

function timingOf({ cron, every, timezone, startAt, endAt }: TimingFlags): object {
  return { cron, every, timezone, startAt, endAt };
}

async function create(cli: Cli, name: string, type: string, flags: CreateFlags): Promise<void> {
  const { payload, tasks: numTask, maxRuns, overlap, misfire, checkinMargin } = flags;
  const policies = { maxRuns, overlap, misfire, checkinMargin };
  const client = await connect(cli, flags);
  const made = await client.createSchedule({
    name,
    ...timingOf(flags),
    ...policies,
    job: { type, payload, numTask },
  });
  cli.note(`Its next slots: ${made.next.map(plain).join(', ') || 'none'}.`);
  cli.say(plain(made.scheduleId));
}

async function list(cli: Cli, flags: PageFlags): Promise<void> {
  const page = await (await connect(cli, flags)).listSchedules(flags);
  if (flags.json) return cli.say(plainJson(page));
  if (page.schedules.length === 0) return cli.note('You have no more schedules.');
  page.schedules.forEach((schedule) => cli.say(lineOf(schedule)));
  more(cli, page.nextCursor);
}

async function slots(cli: Cli, schedule: string, flags: PageFlags & { outcome?: string }): Promise<void> {
  const page = await (await connect(cli, flags)).slots(schedule, flags);
  if (flags.json) return cli.say(plainJson(page));
  if (page.slots.length === 0) return cli.note('There are no such slots.');
  page.slots.forEach((slot) => cli.say(slotLine(slot)));
  more(cli, page.nextCursor);
}

async function operate(
  cli: Cli,
  flags: ConnectionFlags,
  change: (client: ApiClient) => Promise<Schedule>,
  done?: string,
): Promise<void> {
  const { scheduleId, status, next } = await change(await connect(cli, flags));
  const then =
    next[0] !== undefined && done === undefined && status === 'active' ? `, next at ${plain(next[0])}` : '';
  cli.say(`Schedule ${plain(scheduleId)} ${done ?? `is ${plain(status)}`}${then}.`);
}

function lineOf({ scheduleId, name, status, cron, every, timezone, job, next }: Schedule): string {
  const rule = cron === null ? `every ${every}` : `${cron} ${timezone}`;
  return [scheduleId, status, rule, job.type, next[0] ?? 'no slot left', name].map(plain).join('  ');
}

function slotLine({ slot, until, count: slots, outcome, jobId, jobStatus, note }: Slot): string {
  const when = until === null ? slot : `${slot} to ${until} (${slots})`;
  const job = jobId === null ? [] : [`${jobId} ${jobStatus ?? 'forgotten'}`];
  return [when, outcome, ...job, ...(note === null ? [] : [note])].map(plain).join('  ');
}

function more(cli: Cli, cursor: string | null): void {
  if (cursor !== null) cli.note(`There are more: add --cursor ${plain(cursor)}`);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be JSON.');
  }
}
