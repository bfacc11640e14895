import { z } from 'zod';
import type { ApiDocument, Operation, Schema } from './api-document.js';
import type { Exchange } from './exchange.js';
import type { FuzzRequest } from './fuzz-request.js';

/** What must not leave the service: where its code is, what it asks of the database, what went wrong within. */
const INTERNAL =
  /\n\s+at |node_modules|\.[jt]s:\d|\b(SELECT|INSERT INTO|UPDATE|DELETE FROM) \w|prisma|postgres|SQLSTATE|\bP2\d{3}\b|ECONN|TypeError|RangeError|SyntaxError|undefined is not|Cannot read prop/i;

const Problem = z.object({
  type: z.string().regex(/^urn:longhaul:problem:[a-z-]+$/),
  title: z.string().min(1),
  status: z.int(),
  detail: z.string(),
  instance: z.string(),
});

/** Headers that tell something of an answer, of which the document has to know. */
const TELLING = [
  'location',
  'idempotency-replayed',
  'etag',
  'retry-after',
  'www-authenticate',
  'x-request-id',
];
/** Not in each of the answers that may have it. */
const SOMETIMES = ['idempotency-replayed'];

/** The head of the request is too large, which is said before anybody knows for which route it is. */
const TOO_LONG = 431;

type Response = Operation['responses'][string];

/** Judges answers by the document that the service gives of itself. */
export class AnswerCheck {
  private readonly schemas = new Map<Schema, z.ZodType>();

  constructor(private readonly document: ApiDocument) {}

  /** What is wrong with an answer, in words. */
  faultsOf(request: FuzzRequest, answer: Exchange): string[] {
    const { operation, method } = request;
    const { status, headers } = answer;
    const faults = status >= 500 ? [`${status}`] : [];
    if (headers['x-request-id'] === undefined) faults.push('no X-Request-Id');
    if (method === 'HEAD' || method === 'OPTIONS') return faults;
    if (status >= 400) faults.push(...problemFaults(answer));
    if (status === TOO_LONG || !hasComeToItsRoute(request)) return faults;
    const response = operation.responses[status];
    if (!response) return [...faults, `${status} is not documented`];
    faults.push(...headerFaults(response, answer));
    return status >= 400 ? faults : [...faults, ...this.bodyFaults(response, answer)];
  }

  private bodyFaults(response: Response, { text, headers }: Exchange): string[] {
    const schema = response.content?.['application/json']?.schema;
    if (!schema) return [];
    if (!headers['content-type']?.startsWith('application/json')) return ['an answer that is no JSON'];
    const judged = this.compiled(schema).safeParse(JSON.parse(text));
    if (judged.success) return [];
    const [issue] = judged.error.issues;
    return [`not as documented: /${issue?.path.join('/')} ${issue?.message}`];
  }

  private compiled(schema: Schema): z.ZodType {
    const known = this.schemas.get(schema);
    if (known) return known;
    const { schemas } = this.document.components;
    const whole = { ...(closed(schema) as object), $defs: closed(schemas) };
    const made = z.fromJSONSchema(whole as Parameters<typeof z.fromJSONSchema>[0]);
    this.schemas.set(schema, made);
    return made;
  }
}

/** Whether a request was for the route of its operation, whatever else was wrong with it. */
export function hasComeToItsRoute({ operation, method, path, address }: FuzzRequest): boolean {
  // Without an id, or with dots in its place, it is another address.
  const isPlain = Object.values(path).every((id) => id !== '' && !id.includes('..'));
  return method === operation.method && address === undefined && isPlain;
}

function headerFaults({ headers: documented = {} }: Response, { headers }: Exchange): string[] {
  const names = Object.keys(documented).map((name) => name.toLowerCase());
  const unknown = TELLING.filter((name) => headers[name] !== undefined && !names.includes(name));
  const absent = names.filter((name) => headers[name] === undefined && !SOMETIMES.includes(name));
  return [
    ...unknown.map((name) => `${name} is not documented`),
    ...absent.map((name) => `${name} is documented and absent`),
  ];
}

function problemFaults({ status, headers, text }: Exchange): string[] {
  const faults: string[] = [];
  const media = headers['content-type'] ?? '';
  if (!media.startsWith('application/problem+json')) faults.push(`a problem as "${media}"`);
  if (INTERNAL.test(text)) faults.push(`something internal: ${INTERNAL.exec(text)?.[0].trim()}`);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return [...faults, 'a problem that is no JSON'];
  }
  const problem = Problem.safeParse(body);
  if (!problem.success) return [...faults, `no problem: ${problem.error.issues[0]?.path.join('/')}`];
  if (problem.data.status !== status) faults.push(`a problem of status ${problem.data.status} as ${status}`);
  if (!problem.data.instance.endsWith(`:${headers['x-request-id']}`))
    faults.push('another request id inside');
  return faults;
}

/** As zod reads it, and with no fields but the named ones: what is answered is all in the document. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (value === null || typeof value !== 'object') return value;
  const part = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, closed(inner)]));
  if (typeof part['$ref'] === 'string')
    return { $ref: part['$ref'].replace('#/components/schemas/', '#/$defs/') };
  if (part['type'] === 'object' && part['properties'] && part['additionalProperties'] === undefined)
    part['additionalProperties'] = false;
  return part;
}
