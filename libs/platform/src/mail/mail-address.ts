/**
 * Plain addresses only: ASCII, without quotes, comments, spaces and control characters, so that none can add a header or
 * another recipient.
 */
const ADDRESS =
  /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;
const LONGEST = 254;
const LONGEST_LOCAL = 64;

/** Whether a mail can be sent to this. */
export function isMailAddress(text: string): boolean {
  return text.length <= LONGEST && text.indexOf('@') <= LONGEST_LOCAL && ADDRESS.test(text);
}

/** Whether this can stand behind From: an address, or `Name <address>`. */
export function isSender(text: string): boolean {
  const named = /^[\w .-]{1,100} <([^<>]+)>$/.exec(text);
  return isMailAddress(named?.[1] ?? text);
}

/** The address of a sender. */
export function addressOf(sender: string): string {
  return /<([^<>]+)>$/.exec(sender)?.[1] ?? sender;
}
