import { isIP } from 'node:net';
import { isPublic, isWithin, type Network } from './networks.js';
import { OutboundRefusedError } from './outbound-errors.js';

const LONGEST = 2000;
/** Of an https address that is open to everybody. */
const PORTS = ['', '8443'];
/** Names that only have a meaning within somebody's network; whatever they resolve to. */
const LOCAL_NAME = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|localdomain)$/;

/** Finds the addresses of a name. Rejects, or answers none, when it has none. */
export type Resolve = (host: string) => Promise<string[]>;

/** An address of a user that may be called, and where it leads: the only hosts to connect to. */
export interface CheckedAddress {
  url: URL;
  hosts: { address: string; family: 4 | 6 }[];
}

/**
 * Checks an address that a user has given, and resolves its name, once. Public hosts are called over https; those within
 * `allowed` networks also over http, at any port.
 * @throws {OutboundRefusedError} when it is not to be called.
 */
export async function checkAddress(
  text: string,
  resolve: Resolve,
  allowed: readonly Network[],
): Promise<CheckedAddress> {
  const url = readAddress(text);
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const isAddress = isIP(name) !== 0;
  if (!isAddress && (LOCAL_NAME.test(name.replace(/\.$/, '')) || !name.replace(/\.$/, '').includes('.')))
    throw blocked();
  const found = isAddress ? [name] : await resolve(name).catch(() => []);
  if (found.length === 0)
    throw new OutboundRefusedError('unresolved', 'The name of the host has no address.');
  const within = found.every((address) => isWithin(address, allowed));
  // One that is not public is enough: who resolves a name to two can choose which of them is used.
  if (!found.every((address) => isWithin(address, allowed) || isPublic(address))) throw blocked();
  if (url.protocol !== 'https:' && !within) throw bad('Only https is called.');
  if (!PORTS.includes(url.port) && !within) throw bad('Only the ports 443 and 8443 are called.');
  return { url, hosts: found.map((address) => ({ address, family: isIP(address) === 6 ? 6 : 4 })) };
}

/** Reads an address; odd spellings such as 0x7f.1 come out as the address that they mean. */
function readAddress(text: string): URL {
  if (text.length > LONGEST) throw bad(`At most ${LONGEST} characters.`);
  if (!URL.canParse(text)) throw bad('This is no URL.');
  // The parser strips these, so that two readers could see two addresses.
  if (/[\s\p{Cc}\\]/u.test(text)) throw bad('A URL has no spaces, control characters and backslashes.');
  const url = new URL(text);
  if (!['https:', 'http:'].includes(url.protocol)) throw bad('Only https is called.');
  if (url.username !== '' || url.password !== '') throw bad('No user and no password.');
  if (text.includes('#')) throw bad('No fragment.');
  return url;
}

function bad(message: string): OutboundRefusedError {
  return new OutboundRefusedError('bad-address', message);
}

function blocked(): OutboundRefusedError {
  return new OutboundRefusedError('blocked-address', 'This host is not called.');
}
