import type { IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import { clientAddressBy } from './client-address.js';

const asked = (remoteAddress: string, forwarded?: string) =>
  ({
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    socket: { remoteAddress },
  }) as unknown as IncomingMessage;

test.each([
  ['nobody is trusted', [], '10.0.0.1', '192.0.2.7', '10.0.0.1'],
  ['the proxy is trusted', ['10.0.0.0/8'], '10.0.0.1', '192.0.2.7', '192.0.2.7'],
  ['the proxy is trusted in IPv6', ['2001:db8::/32'], '2001:db8::9', '192.0.2.7', '192.0.2.7'],
  ['the proxy comes as IPv4 within IPv6', ['10.0.0.1'], '::ffff:10.0.0.1', '192.0.2.7', '192.0.2.7'],
  ['another one is trusted', ['10.0.0.2'], '10.0.0.1', '192.0.2.7', '10.0.0.1'],
  ['a client has written something before', ['10.0.0.0/8'], '10.0.0.1', '1.1.1.1, 192.0.2.7', '192.0.2.7'],
  ['there are two proxies', ['10.0.0.0/8'], '10.0.0.1', '1.1.1.1, 192.0.2.7, 10.0.0.2', '192.0.2.7'],
  ['all are trusted', ['10.0.0.0/8'], '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ['what was passed on is no address', ['10.0.0.0/8'], '10.0.0.1', '1.1.1.1, unknown', 'unknown'],
  ['nothing was passed on', ['10.0.0.0/8'], '10.0.0.1', undefined, '10.0.0.1'],
] as const)('the client is known when %s', (_when, trusted, remote, forwarded, client) => {
  expect(clientAddressBy(trusted)(asked(remote, forwarded))).toBe(client);
});
