import { pointerTo, type ProblemIssue } from './problems/problem.js';

/** Whether a text may have such values at all; most do not, and need no second reading. */
const SUSPICIOUS = /[\d.]{16}|\de[+-]?\d{3}|__proto__|prototype|\\u(?:00[0-7]|d[89a-f])/i;

/** Places that are named; a refusal names no more. */
const MOST_ISSUES = 20;

const NUMBER = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
const UNSTORABLE = 'This text has a NUL or half a surrogate pair, which cannot be stored.';

interface Level {
  isObject: boolean;
  /** The key or the index of the value that is being read. */
  at: string | number;
  /** Whether the next text is a key. */
  wantsKey: boolean;
}

/**
 * Finds what would not be stored as it was sent: integers that JavaScript rounds, numbers that it takes for infinite or
 * for 0, texts with a NUL or half a character, and keys by which a prototype is reached.
 */
export function findChangedValues(json: string): ProblemIssue[] {
  if (!SUSPICIOUS.test(json)) return [];
  const issues: ProblemIssue[] = [];
  const levels: Level[] = [];
  const report = (message: string) =>
    issues.push({ pointer: pointerTo(levels.map(({ at }) => at)), message });
  for (const token of tokensOf(json)) {
    if (issues.length === MOST_ISSUES) break;
    const level = levels.at(-1);
    if (token === '{') levels.push({ isObject: true, at: '', wantsKey: true });
    else if (token === '[') levels.push({ isObject: false, at: 0, wantsKey: false });
    else if (token === '}' || token === ']') levels.pop();
    else if (token === ',') {
      if (level?.isObject) level.wantsKey = true;
      else if (level) level.at = Number(level.at) + 1;
    } else if (level?.wantsKey) {
      level.at = JSON.parse(token) as string;
      level.wantsKey = false;
      if (reachesPrototype(levels)) report('This key cannot be stored.');
      else if (!isStorable(level.at)) report(UNSTORABLE);
    } else if (token.startsWith('"')) {
      if (token.includes('\\') && !isStorable(JSON.parse(token) as string)) report(UNSTORABLE);
    } else if (!isKept(token)) report('This number cannot be kept exactly; send it as text.');
  }
  return issues;
}

function reachesPrototype(levels: Level[]): boolean {
  const key = levels.at(-1)?.at;
  return key === '__proto__' || (key === 'prototype' && levels.at(-2)?.at === 'constructor');
}

function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\u0000');
}

/** Whether a number is stored as it was written. Of a fraction the digits that a double does not have may be lost. */
function isKept(token: string): boolean {
  const value = Number(token);
  if (Number.isNaN(value) || Number.isSafeInteger(value))
    return value !== 0 || !/[1-9]/.test(mantissa(token));
  if (!Number.isFinite(value)) return false;
  return !Number.isInteger(value) || (!/^-?\d+$/.test(token) && decimal(token) === decimal(String(value)));
}

function mantissa(token: string): string {
  return token.split(/e/i)[0] ?? '';
}

/** The digits of a number without zeros at either end, and the power of ten of the last one. */
function decimal(token: string): string {
  const [, whole = '', fraction = '', exponent = '0'] = NUMBER.exec(token) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  return `${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}

/** The texts, numbers and marks of valid JSON, without its colons. */
function* tokensOf(json: string): Generator<string> {
  let at = 0;
  while (at < json.length) {
    const start = at;
    const letter = json[at++] ?? '';
    if (letter === '"') {
      while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
      at++;
      yield json.slice(start, at);
    } else if (/[-\d]/.test(letter)) {
      while (/[\d.eE+-]/.test(json[at] ?? '')) at++;
      yield json.slice(start, at);
    } else if ('{}[],'.includes(letter)) yield letter;
  }
}
