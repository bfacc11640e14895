import type { Problem } from './api-errors.js';

/** By which option a user gave what the service calls by the name of a field, a parameter or a header. */
const OPTIONS = new Map([
  ['numTask', '--tasks'],
  ['attempts', '--attempts'],
  ['failurePolicy', '--failure-policy'],
  ['payload', '--payload'],
  ['type', '<type>'],
  ['reason', '--reason'],
  ['limit', '--limit'],
  ['cursor', '--cursor'],
  ['cron', '--cron'],
  ['every', '--every'],
  ['timezone', '--timezone'],
  ['startAt', '--start-at'],
  ['endAt', '--end-at'],
  ['until', '--until'],
  ['outcome', '--outcome'],
  ['Idempotency-Key', '--idempotency-key'],
]);

/** What is wrong with a request, in the words of the command line: --tasks rather than /numTask. */
export function inOptions({ detail, errors = [] }: Problem): string {
  let text = detail;
  const more: string[] = [];
  for (const { pointer, message } of errors) {
    const asSent = `${pointer}: ${message}`;
    const asGiven = `${optionOf(pointer)}: ${message}`;
    if (text.includes(asSent)) text = text.replace(asSent, () => asGiven);
    else if (!text.includes(message)) more.push(asGiven);
  }
  return [text, ...more].join(' ');
}

/** `--payload /steps` for `/payload/steps`; what no option gives stays as it is. */
function optionOf(pointer: string): string {
  const [, name = '', rest = ''] = /^\/?([^/]*)(.*)$/s.exec(pointer) ?? [];
  const option = OPTIONS.get(name);
  return option ? [option, rest].filter(Boolean).join(' ') : pointer;
}
