import { describe, expect, it } from '@jest/globals';
import { CommitWatch, FrameReader, Statements } from './postgres-wire.js';

function frame(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), head, body]);
}

const startup = frame('', Buffer.from('\0\x03\0\0user\0postgres\0\0'));
const query = (sql: string) => frame('Q', Buffer.from(`${sql}\0`));
const parse = (sql: string, name = '') => frame('P', Buffer.from(`${name}\0${sql}\0\0\0`));
const bind = (name = '') => frame('B', Buffer.from(`\0${name}\0\0\0\0\0\0\0`));
const execute = (sql: string) => Buffer.concat([parse(sql), bind()]);
const ready = (status: 'I' | 'T') => frame('Z', Buffer.from(status));

function watching(match: RegExp): CommitWatch {
  let left = 1;
  const watch = new CommitWatch((sql) => match.test(sql) && left-- > 0);
  watch.sent(startup);
  watch.received(ready('I'));
  return watch;
}

describe('FrameReader', () => {
  it('reads messages whatever pieces they come in', () => {
    const bytes = Buffer.concat([startup, query('SELECT 1'), execute('SELECT 2')]);
    for (const size of [1, 3, bytes.length]) {
      const reader = new FrameReader(true);
      const statements = new Statements();
      const found: (string | undefined)[] = [];
      for (let at = 0; at < bytes.length; at += size)
        found.push(...reader.read(bytes.subarray(at, at + size)).map((frame) => statements.executed(frame)));
      expect(found).toEqual([undefined, 'SELECT 1', undefined, 'SELECT 2']);
    }
  });
});

describe('CommitWatch', () => {
  it('keeps the reply of a statement that commits by itself, and cuts when the server has done it', () => {
    const watch = watching(/UPDATE/);
    watch.sent(execute('UPDATE tasks'));
    expect(watch.received(frame('C', Buffer.from('UPDATE 1\0')))).toBe('swallow');
    expect(watch.received(ready('I'))).toBe('cut');
  });

  it('knows a statement again that was prepared before under a name', () => {
    const watch = watching(/UPDATE/);
    watch.sent(Buffer.concat([parse('SELECT 1', 'one'), parse('UPDATE tasks', 'other'), bind('one')]));
    expect(watch.received(ready('I'))).toBe('pass');
    watch.sent(bind('other'));
    expect(watch.received(ready('I'))).toBe('cut');
  });

  it('lets a statement within a transaction pass, and keeps the reply of its COMMIT', () => {
    const watch = watching(/UPDATE/);
    watch.sent(query('BEGIN'));
    expect(watch.received(ready('T'))).toBe('pass');
    watch.sent(execute('UPDATE tasks'));
    expect(watch.received(ready('T'))).toBe('pass');
    watch.sent(query('commit'));
    expect(watch.received(ready('I'))).toBe('cut');
  });

  it('lets everything else pass', () => {
    const watch = watching(/UPDATE/);
    watch.sent(query('SELECT 1'));
    expect(watch.received(ready('I'))).toBe('pass');
  });
});
