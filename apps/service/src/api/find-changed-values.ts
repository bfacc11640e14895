import { pointerTo, type ProblemIssue } from './problems/problem.js';

/** Whether a text may have such values at all; most do not, and need no second reading. */
const SUSPICIOUS = /\d{16}|__proto__|\\u005f/i;

/** Places that are named; a refusal names no more. */
const MOST_ISSUES = 20;

const INTEGER = /^-?\d+$/;

interface Level {
  isObject: boolean;
  /** The key or the index of the value that is being read. */
  at: string | number;
  /** Whether the next text is a key. */
  wantsKey: boolean;
}

/** Finds what would not be stored as it was sent: integers that JavaScript rounds, and keys named `__proto__`. */
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
      if (level.at === '__proto__') report('This key cannot be stored.');
    } else if (INTEGER.test(token) && !Number.isSafeInteger(Number(token))) {
      report('This integer is too large to be kept exactly; send it as text.');
    }
  }
  return issues;
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
