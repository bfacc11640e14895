const PAUSE = {
  until: { summary: 'Until a time', value: { reason: 'maintenance', until: '2099-01-31T12:00:00Z' } },
};

/** Bodies that are accepted as they stand, by operation; a test sends each. */
export const EXAMPLES: Record<string, Record<string, { summary: string; value: object }>> = {
  'post /jobs': {
    demo: { summary: 'A trial job of some tasks', value: { numTask: 3 } },
    typed: {
      summary: 'A job of a type, with labels',
      value: {
        type: 'demo.wait',
        payload: { durationMs: 500, steps: 5 },
        numTask: 2,
        labels: { project: 'north' },
      },
    },
    tasks: {
      summary: 'A job whose tasks have payloads of their own',
      value: {
        type: 'demo.wait',
        tasks: [
          { key: 'first', payload: { durationMs: 100 } },
          { key: 'second', payload: { durationMs: 200 } },
        ],
        failurePolicy: 'continue',
        attempts: 2,
      },
    },
    timed: {
      summary: 'A job for later',
      value: {
        type: 'demo.wait',
        runAt: '2099-01-31T12:00:00Z',
        expiresAt: '2099-02-01T12:00:00Z',
        priority: 10,
        dedupeKey: 'yearly',
      },
    },
  },
  'put /jobs/{jobId}': { later: { summary: 'Another time', value: { runAt: '2099-02-28T12:00:00Z' } } },
  'post /jobs/{jobId}/cancel': {
    why: { summary: 'With a reason', value: { reason: 'wrong data' } },
    bare: { summary: 'Without one', value: {} },
  },
  'post /jobs/{jobId}/resolve': {
    failed: {
      summary: 'Give it up',
      value: { status: 'failed', reason: 'the Catalog is gone for good' },
    },
  },
  'post /api-keys': {
    reader: {
      summary: 'A key that only looks',
      value: {
        ownerId: 'team-north',
        name: 'dashboard',
        scopes: ['jobs:read'],
        expiresAt: '2099-01-31T12:00:00Z',
      },
    },
    local: {
      summary: 'A key for some addresses',
      value: {
        ownerId: 'team-north',
        name: 'nightly import',
        scopes: ['jobs:write'],
        allowedCidrs: ['10.0.0.0/8', '2001:db8::/32'],
      },
    },
  },
  'post /schedules': {
    nightly: {
      summary: 'Every night, by the clocks of a place',
      value: {
        name: 'nightly',
        cron: '30 2 * * *',
        timezone: 'Europe/Berlin',
        job: { type: 'demo.wait', numTask: 2 },
        overlap: 'skip',
        checkinMargin: '10m',
      },
    },
    interval: {
      summary: 'Every ten minutes, with all that was missed made up for',
      value: {
        name: 'often',
        every: '10m',
        job: { numTask: 1 },
        startAt: '2099-01-31T12:00:00Z',
        endAt: '2099-12-31T12:00:00Z',
        maxRuns: 100,
        jitter: '30s',
        misfire: 'all',
        maxCatchUp: 5,
        catchUpWindow: '1h',
      },
    },
  },
  'post /schedules/preview': {
    midnight: { summary: 'Every midnight in Cairo', value: { cron: '0 0 * * *', timezone: 'Africa/Cairo' } },
  },
  'patch /schedules/{scheduleId}': {
    later: { summary: 'Another time, and as often as may be', value: { cron: '0 4 * * *', maxRuns: null } },
  },
  'post /schedules/{scheduleId}/pause': PAUSE,
  'post /webhooks': {
    failures: {
      summary: 'Call an address when a job fails',
      // An address for documentation: nothing is called when it is made.
      value: { url: 'https://1.1.1.1/longhaul', events: ['job.failed'], description: 'the pager' },
    },
  },
  'patch /webhooks/{webhookId}': {
    off: { summary: 'Call it no more', value: { enabled: false } },
  },
  'put /pauses/types/{name}': PAUSE,
  'put /pauses/tags/{name}': PAUSE,
};
