import ipaddr from 'ipaddr.js';

/** What is taken for a network, for whoever makes a key. */
export const NETWORK_RULE =
  'It must be an address or a network such as 10.0.0.0/8 or 2001:db8::/32, no bit of whose host is set.';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = [Address, number];

/** Whether this is an address or a network, as an API key may be limited to. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined;
}

/** Whether an address is in one of these networks. One that cannot be read is in none. */
export function isWithin(address: string, networks: readonly string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  // ::ffff:10.0.0.1 is how a socket of both kinds calls 10.0.0.1.
  const found = ipaddr.process(address);
  return networks.some((text) => {
    const network = parseNetwork(text);
    return network !== undefined && network[0].kind() === found.kind() && found.match(network);
  });
}

/**
 * What counts as one place that requests come from: an address of IPv4, and of IPv6 the network of 64 bits, of which one
 * customer has all addresses. A text that is no address is a place of its own.
 */
export function placeOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const found = ipaddr.process(address);
  return found instanceof ipaddr.IPv6 ? `${found.parts.slice(0, 4).join(':')}::/64` : found.toString();
}

function parseNetwork(text: string): Network | undefined {
  // The library also takes 0x7f.1 and 010.0.0.1, by which people mean different addresses.
  const [address = '', bits, ...more] = text.split('/');
  if (more.length > 0 || !(ipaddr.IPv4.isValidFourPartDecimal(address) || isPlainV6(address)))
    return undefined;
  const base = ipaddr.parse(address);
  const length = base.kind() === 'ipv4' ? 32 : 128;
  if (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= length)) return undefined;
  const network: Network = [base, bits === undefined ? length : Number(bits)];
  // 10.0.0.7/8 is more likely a mistake for 10.0.0.7 than a wish for sixteen million addresses.
  return hasHostBits(network) ? undefined : unmapped(network);
}

function isPlainV6(text: string): boolean {
  return /^[\d.:a-f]+$/i.test(text) && ipaddr.IPv6.isValid(text);
}

function hasHostBits([base, bits]: Network): boolean {
  return base.toByteArray().some((byte, at) => {
    const left = Math.min(Math.max(bits - at * 8, 0), 8);
    return (byte & (0xff >> left)) !== 0;
  });
}

function unmapped([base, bits]: Network): Network {
  const isMapped = base instanceof ipaddr.IPv6 && base.isIPv4MappedAddress() && bits >= 96;
  return isMapped ? [base.toIPv4Address(), bits - 96] : [base, bits];
}
