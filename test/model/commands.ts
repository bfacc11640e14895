import * as fc from 'fast-check';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import type { Call } from './call.js';
import { type Choice, CHOICES, submitCall } from './choices.js';
import type { History } from './history.js';
import { modelFaults } from './job-moves.js';
import type { Model } from './model.js';
import { actualView, differences, expectedView, shortIds } from './view.js';

/** What a sequence runs on besides the model. */
export interface World {
  client: PrismaClient;
  history: History;
  /** How many calls were made. */
  calls: number;
}

type Command = fc.AsyncCommand<Model, World>;

/** A choice with its numbers, as fast-check runs and shrinks it. */
class Step implements Command {
  private call: Call | undefined;

  constructor(
    private readonly name: string,
    private readonly choose: (model: Model) => Call | undefined,
  ) {}

  check(model: Readonly<Model>): boolean {
    this.call = this.choose(model);
    return this.call !== undefined;
  }

  async run(model: Model, world: World): Promise<void> {
    if (this.call) await runCall(this.call, model, world);
  }

  toString(): string {
    // A line of its own, for fast-check sets commas between.
    return `\n  ${shortIds(this.call?.label ?? this.name)}`;
  }
}

/** Does one call on both sides and compares what they answer, what they have become, and what must hold anyway. */
export async function runCall(call: Call, model: Model, world: World): Promise<void> {
  world.calls++;
  const expected = inOrder(call.expect(model));
  const actual = inOrder(await call.perform(world.client));
  const view = await actualView(world.client);
  const faults = [
    ...(expected === actual ? [] : [`answered ${shortIds(actual)}, not ${shortIds(expected)}`]),
    ...differences(expectedView(model), view),
    ...world.history.faults(view),
    ...modelFaults(model).map((fault) => `the model itself: ${fault}`),
  ];
  if (faults.length > 0)
    throw new Error(`After "${shortIds(call.label)}":\n  ${faults.slice(0, 12).join('\n  ')}`);
}

/** As JSON with sorted names. */
export function inOrder(value: unknown): string {
  return JSON.stringify(value ?? null, (_key, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

const number = fc.nat({ max: 999 });
const step = (name: string, choice: Choice): fc.Arbitrary<Command> =>
  fc.tuple(number, number).map(([a, b]) => new Step(`${name} ${a} ${b}`, (model) => choice(model, a, b)));

const instant = fc.oneof(
  { weight: 8, arbitrary: fc.constant('none' as const) },
  fc.constantFrom('ahead' as const, 'over' as const),
);
const shape = fc.record({
  tasks: fc.integer({ min: 1, max: 4 }),
  plan: fc.nat({ max: 3 }).map((n) => n === 0),
  policy: fc.constantFrom('fail-fast' as const, 'continue' as const),
  maxAttempts: fc.integer({ min: 1, max: 3 }),
  resumable: fc.boolean(),
  finalize: fc.boolean(),
  limited: fc.nat({ max: 4 }).map((n) => n === 0),
  direct: fc.constantFrom(3, 3, 3, 1, 0),
  hook: fc.boolean(),
  runAt: instant,
  expires: instant,
  key: fc.option(fc.record({ key: fc.constantFrom('k', 'l'), hash: fc.constantFrom('h', 'i') }), { freq: 3 }),
});
const submit: fc.Arbitrary<Command> = shape.map(
  (made) => new Step('submit', (model) => submitCall(model, made)),
);

export type Sequence = [Command, Iterable<Command>];

/** A submit and then anything: some 15 calls on the average, for there is not always something to call them on. */
export const sequences: fc.Arbitrary<Sequence> = fc.tuple(
  submit,
  fc.commands(
    [
      fc.oneof(
        { weight: 3, arbitrary: submit },
        ...Object.entries(CHOICES).map(([name, [weight, choice]]) => ({
          weight,
          arbitrary: step(name, choice),
        })),
      ),
    ],
    { maxCommands: 45, size: 'max', disableReplayLog: true },
  ),
);
