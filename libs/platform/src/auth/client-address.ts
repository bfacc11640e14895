import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/**
 * Tells from which address a request comes, as Fastify does for those that it handles: of the addresses that were passed on,
 * the first, seen from here, that is not one of a trusted proxy.
 * @param trusted addresses and networks of proxies whose `X-Forwarded-For` is believed
 */
export function clientAddressBy(trusted: readonly string[] = []): (request: IncomingMessage) => string {
  const proxies = new BlockList();
  for (const text of trusted) {
    const [address = '', bits] = text.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    proxies.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family);
  }
  const isTrusted = (address: string) => {
    const family = isIP(address);
    return family !== 0 && proxies.check(address, family === 6 ? 'ipv6' : 'ipv4');
  };
  return ({ headers, socket }) => {
    const passedOn = String(headers['x-forwarded-for'] ?? '')
      .split(',')
      .map((address) => address.trim())
      .filter((address) => address !== '')
      .toReversed();
    let address = socket.remoteAddress ?? '';
    for (const before of passedOn) {
      if (!isTrusted(address)) break;
      address = before;
    }
    return address;
  };
}
