import { describe, expect, test } from '@jest/globals';
import { age, barLine, textLine } from './progress-line.js';

const JOB = {
  status: 'active',
  progress: 66,
  tasks: { total: 30, completed: 20, failed: 0, canceled: 0 },
  createdAt: '2026-01-02T03:04:05.000Z',
  finishedAt: '2026-01-02T03:04:08.999Z',
};

describe('the line of a job', () => {
  test('has a bar as long as there is room', () => {
    const text = 'files.ingest   66 %  20/30 tasks  active  00:03';
    expect(textLine('files.ingest', JOB)).toBe(text);
    expect(barLine('files.ingest', JOB, 200)).toBe(
      text.replace('  ', `  ${'█'.repeat(15)}${'░'.repeat(9)}  `),
    );
    expect(barLine('files.ingest', JOB, 60)).toHaveLength(59);
    expect(barLine('files.ingest', JOB, 40)).toBe(text);
  });

  test('is full at 100 only', () => {
    expect(barLine('a', { ...JOB, progress: 99 }, 200)).toContain('░');
    expect(barLine('a', { ...JOB, progress: 100 }, 200)).not.toContain('░');
  });

  test('tells of tasks that are still planned and of those that failed', () => {
    const tasks = { completed: 5, failed: 2, canceled: 0 };
    expect(textLine('a', { ...JOB, tasks })).toContain('  5/? tasks, 2 failed  ');
  });

  test('has no control character of the service and no end of its own length', () => {
    const line = textLine(`\u001b[2J${'x'.repeat(1000)}`, { ...JOB, status: 'a\nb' });
    expect(line).not.toMatch(/\p{Cc}/u);
    expect(line.length).toBeLessThan(90);
  });
});

test.each([
  ['2026-01-02T03:04:04.000Z', '00:00'],
  ['2026-01-02T03:05:05.000Z', '01:00'],
  ['2026-01-02T13:04:06.000Z', '10:00:01'],
  ['nonsense', '00:00'],
])('the age of a job that ended at %s is %s', (finishedAt, text) => {
  expect(age({ createdAt: JOB.createdAt, finishedAt })).toBe(text);
});
