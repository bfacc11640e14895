import { describe, expect, test } from '@jest/globals';
import { Batcher } from './batcher.js';

/** Batches as they are written, each of which stays on its way until it is let go. */
class Writes {
  readonly batches: string[][] = [];
  private readonly onTheirWay: (() => void)[] = [];

  readonly flush = (members: string[]): Promise<Map<string, string>> =>
    new Promise((resolve, reject) => {
      this.batches.push(members);
      const bad = members.some((member) => member.startsWith('bad'));
      this.onTheirWay.push(() =>
        bad
          ? reject(Object.assign(new Error('No such value.'), { code: '22P05' }))
          : resolve(new Map(members.map((member) => [member, `wrote ${member}`]))),
      );
    });

  /** Lets the batch that has been on its way the longest arrive. */
  async land(): Promise<void> {
    this.onTheirWay.shift()?.();
    await turn();
  }
}

/** Until all that was set off has gone as far as it can. */
const turn = async () => {
  for (let n = 0; n < 3; n++) await new Promise((resolve) => setImmediate(resolve));
};
const weightOf = (member: string) => Number(member.slice(1));
const keyOf = (member: string) => member.split(' ')[0] ?? '';

describe('a batcher', () => {
  test('writes what comes while a batch is on its way together, and answers each its own', async () => {
    const writes = new Writes();
    const batcher = new Batcher<string, string>(keyOf, writes.flush);
    const first = [batcher.add('a'), batcher.add('b')];
    await turn();
    const second = [batcher.add('c'), batcher.add('d')];
    await turn();
    expect(writes.batches).toEqual([['a', 'b']]);
    await writes.land();
    expect(writes.batches).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    await writes.land();
    expect(await Promise.all([...first, ...second])).toEqual(['wrote a', 'wrote b', 'wrote c', 'wrote d']);
  });

  test('with two lanes writes half of what there is, and the other half meanwhile', async () => {
    const writes = new Writes();
    const batcher = new Batcher<string, string>(keyOf, writes.flush, { most: 100, lanes: 2 });
    const all = ['a', 'b', 'c', 'd', 'e'].map((member) => batcher.add(member));
    await turn();
    expect(writes.batches).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e'],
    ]);
    const more = ['f', 'g', 'h'].map((member) => batcher.add(member));
    await turn();
    expect(writes.batches).toHaveLength(2);
    await writes.land();
    expect(writes.batches.at(-1)).toEqual(['f', 'g', 'h']);
    await writes.land();
    await writes.land();
    expect(await Promise.all([...all, ...more])).toHaveLength(8);
  });

  test('has no two members of one key on their way at once, in whatever lanes', async () => {
    const writes = new Writes();
    const named = (members: string[]) =>
      writes
        .flush(members)
        .then((answers) => new Map([...answers].map(([key, value]) => [keyOf(key), value])));
    const batcher = new Batcher<string, string>(keyOf, named, { most: 100, lanes: 2 });
    const answers = [batcher.add('a 1'), batcher.add('a 2'), batcher.add('a 3')];
    await turn();
    expect(writes.batches).toEqual([['a 1']]);
    await writes.land();
    expect(writes.batches).toEqual([['a 1'], ['a 2']]);
    await writes.land();
    await writes.land();
    expect(await Promise.all(answers)).toEqual(['wrote a 1', 'wrote a 2', 'wrote a 3']);
  });

  test('holds no more than the weights allow, and takes a heavier one alone', async () => {
    const writes = new Writes();
    const batcher = new Batcher<string, string>(keyOf, writes.flush, { most: 4, weightOf });
    const answers = ['a2', 'b9', 'c2', 'd1'].map((member) => batcher.add(member));
    await turn();
    for (let n = 0; n < 3; n++) await writes.land();
    expect(writes.batches).toEqual([['a2', 'c2'], ['b9'], ['d1']]);
    await Promise.all(answers);
  });

  test('halves a batch whose values are at fault until the culprit stands alone', async () => {
    const writes = new Writes();
    const batcher = new Batcher<string, string>(keyOf, writes.flush);
    const answers = Promise.allSettled(['a', 'b', 'bad', 'c'].map((member) => batcher.add(member)));
    await turn();
    for (let n = 0; n < 5; n++) await writes.land();
    expect((await answers).map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });
});
