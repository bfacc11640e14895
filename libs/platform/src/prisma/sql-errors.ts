/**
 * The SQLSTATE of a failed statement, or undefined when the failure did not come from Postgres itself.
 * Prisma wraps it differently for raw statements and for its model API.
 */
export function sqlState(error: unknown): string | undefined {
  for (const place of causes(error)) {
    const code = place['originalCode'] ?? place['code'];
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('P2')) return code;
  }
  return undefined;
}

/** Whether another try may succeed as it is: the transaction lost a race (40P01, 40001). */
export function isRaceLost(error: unknown): boolean {
  const state = sqlState(error);
  return state === '40P01' || state === '40001';
}

/** Whether the values were at fault (classes 22 and 23), so that no repetition can succeed. */
export function isBadData(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && (state.startsWith('22') || state.startsWith('23'));
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
