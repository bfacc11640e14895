import { type ApiDocument, resolve, type Schema } from './api-document.js';
import type { Random } from './random.js';

/** What the service has, by the name of a parameter or field, so that some of what is asked for is there. */
export type Known = Record<string, unknown[]>;

/** Values deeper than this are plain, so that a schema of itself comes to an end. */
const DEEPEST = 4;

/** A value that a schema lets through, or nearly: patterns and whatever is not said in it are passed over. */
export function valueOf(
  document: ApiDocument,
  schema: Schema,
  random: Random,
  known: Known,
  name = '',
  depth = 0,
): unknown {
  const inner = resolve(document, schema);
  const make = (part: Schema, field = '', deeper = depth + 1) =>
    valueOf(document, part, random, known, field, deeper);
  const pool = known[name] ?? [];
  if (pool.length > 0 && random.chance(0.8)) return random.pick(pool);
  if ('const' in inner) return inner['const'];
  if (Array.isArray(inner['enum'])) return random.pick(inner['enum']);
  const options = inner['anyOf'] ?? inner['oneOf'];
  if (Array.isArray(options)) return make(random.pick(depth > DEEPEST ? options.slice(0, 4) : options));
  const type = Array.isArray(inner['type']) ? random.pick(inner['type']) : inner['type'];
  switch (type) {
    case 'string':
      return textOf(inner, random);
    case 'integer':
    case 'number':
      return numberOf(inner, random);
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    case 'array': {
      const least = Number(inner['minItems'] ?? 0);
      const most = Math.max(least, Math.min(Number(inner['maxItems'] ?? 4), depth > DEEPEST ? 0 : 4));
      const length = random.int(least, most);
      return Array.from({ length }, () => make((inner['items'] ?? {}) as Schema));
    }
    case 'object':
      return objectOf(inner, random, make, depth);
    default:
      // What has no type may be anything.
      return random.pick([null, true, 0, 'any', {}, [], { steps: 2 }, { durationMs: 1, numTask: [null] }]);
  }
}

function objectOf(
  schema: Schema,
  random: Random,
  make: (part: Schema, field?: string) => unknown,
  depth: number,
): object {
  const required = (schema['required'] ?? []) as string[];
  const fields = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>)
    .filter(([name]) => required.includes(name) || random.chance(0.3))
    .map(([name, part]) => [name, make(part, name)]);
  const more = schema['additionalProperties'];
  if (more && typeof more === 'object' && depth <= DEEPEST)
    for (let count = random.int(0, 2); count > 0; count--)
      fields.push([`k${random.int(0, 9)}`, make(more as Schema)]);
  return Object.fromEntries(fields) as object;
}

function textOf(schema: Schema, random: Random): string {
  const { format } = schema;
  if (format === 'date-time')
    return `20${random.int(30, 99)}-0${random.int(1, 9)}-1${random.int(0, 9)}T12:00:00Z`;
  if (format === 'uuid') return `019a0000-0000-7000-8000-${String(random.int(0, 999_999)).padStart(12, '0')}`;
  const least = Number(schema['minLength'] ?? 0);
  const most = Math.min(Number(schema['maxLength'] ?? 12), 300);
  const length = random.chance(0.1) ? most : random.int(least, Math.max(least, Math.min(most, 12)));
  return Array.from({ length }, () => random.pick([...'abcdefghij0123456789-äß日'])).join('');
}

function numberOf(schema: Schema, random: Random): number {
  const least = Number(schema['minimum'] ?? -1000);
  const most = Number(schema['maximum'] ?? 1000);
  if (random.chance(0.05)) return random.pick([least, most]);
  return random.int(least, Math.min(most, least + 20));
}
