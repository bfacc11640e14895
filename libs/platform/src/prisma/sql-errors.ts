/** The classes that Postgres uses; without them `P1001` of Prisma and `EPIPE` of Node would look like one. */
const SQLSTATE = /^(?:\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;

/**
 * What pg says, in an error without a code, of a connection that it lost, closed or did not get, and of a silent
 * server. Prisma hands these on as they are. Only the whole text counts: others may quote it.
 */
const LOST = new Set([
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Cannot use a pool after calling end on the pool',
  'timeout exceeded when trying to connect',
  'Query read timeout',
]);

/**
 * The SQLSTATE of a failed statement, or undefined when the failure did not come from Postgres itself.
 * Prisma wraps it differently for raw statements and for its model API.
 */
export function sqlState(error: unknown): string | undefined {
  for (const place of causes(error)) {
    const code = place['originalCode'] ?? place['code'];
    if (typeof code === 'string' && SQLSTATE.test(code)) return code;
  }
  return undefined;
}

/** Whether another try may succeed as it is: the transaction lost a race (40P01, 40001). */
export function isRaceLost(error: unknown): boolean {
  const state = sqlState(error);
  return state === '40P01' || state === '40001';
}

/** Whether a statement was given up because it waited too long for what another transaction holds. */
export function isLockTimeout(error: unknown): boolean {
  return sqlState(error) === '55P03';
}

/** Whether a statement was given up because it took longer than it may. */
export function isTimeLimit(error: unknown): boolean {
  return sqlState(error) === '57014';
}

/** Whether the values were at fault (classes 22 and 23), so that no repetition can succeed. */
export function isBadData(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && (state.startsWith('22') || state.startsWith('23'));
}

/** Whether the database could not be reached or gave no answer; nothing is known of what was asked. */
export function isOutage(error: unknown): boolean {
  const state = sqlState(error);
  // Where Postgres itself answered, its code decides alone: its words may quote a value such as "timeout".
  if (state !== undefined) return /^(08|25P03|53|55P03|57014|57P0)/.test(state);
  for (const place of causes(error)) {
    const { code, name, message } = place;
    if (
      typeof code === 'string' &&
      /^(P1001|P1002|P1008|P1017|P2024|P2028|ECONN\w+|ETIMEDOUT|EPIPE)$/.test(code)
    )
      return true;
    if (code === undefined && typeof message === 'string' && LOST.has(message)) return true;
    if (
      name === 'DriverAdapterError' &&
      typeof message === 'string' &&
      /connect|timeout|terminat|notreachable/i.test(message)
    )
      return true;
  }
  return false;
}

/** Whether the connection to the database was lost or could not be made: an outage, but none of its time limits. */
export function isDisconnect(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return /^(08|57P0)/.test(state);
  for (const { code, name, message } of causes(error)) {
    if (typeof code === 'string' && /^(P1001|P1002|P1017|P2024|ECONN\w+|ETIMEDOUT|EPIPE)$/.test(code))
      return true;
    if (typeof message !== 'string') continue;
    if (code === undefined && message !== 'Query read timeout' && LOST.has(message)) return true;
    if (name === 'DriverAdapterError' && /connect|terminat|notreachable/i.test(message)) return true;
  }
  return false;
}

function* causes(error: unknown): Generator<Record<string, unknown>> {
  const open: unknown[] = [error];
  for (let depth = 0; open.length > 0 && depth < 20; depth++) {
    const place = open.shift();
    if (place === null || typeof place !== 'object') continue;
    const fields = place as Record<string, unknown>;
    yield fields;
    open.push(fields['cause'], fields['meta'], fields['driverAdapterError']);
  }
}
