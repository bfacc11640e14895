/**
 * The fields that a line of the log may have. A list of what is shown and not of what is hidden: a field that somebody
 * adds without a thought shows nothing. None of them holds what users send (payloads, results, bodies, headers,
 * addresses with their queries).
 */
const FIELDS = `
  pid role url context requestId method route status durationMs ip
  ownerId actor audit keyId webhookId jobId taskId attempt kind name tags queue
  reason code err stack state since until delayMs policy channel connection
  jobs tasks requests drifted orphans declared scheduleId slot`
  .trim()
  .split(/\s+/);

const LONGEST_TEXT = 2000;
const MOST_ITEMS = 100;
const HIDDEN = '[not shown]';

/** Makes of the fields of a line what may be shown: those that are allowed, with plain values of a bounded length. */
export function showOnly(more: readonly string[] = []): (fields: object) => Record<string, unknown> {
  const allowed = new Set<string>([...FIELDS, ...more]);
  return (fields) =>
    Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, allowed.has(name) ? shown(value) : HIDDEN]),
    );
}

function shown(value: unknown, inList = false): unknown {
  if (typeof value === 'string') return bounded(value);
  if (value === null || ['undefined', 'number', 'boolean'].includes(typeof value)) return value;
  if (value instanceof Date) return value;
  if (value instanceof Error) return shownError(value);
  if (Array.isArray(value) && !inList) return value.slice(0, MOST_ITEMS).map((item) => shown(item, true));
  return HIDDEN;
}

/** Errors of libraries carry what they were called with; of these only the name, the code and the text are told. */
function shownError(error: Error): Record<string, unknown> {
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: bounded(error.message),
    stack: bounded(error.stack ?? ''),
  };
}

function bounded(text: string): string {
  return text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT)}…`;
}
