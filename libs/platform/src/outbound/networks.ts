import ipaddr from 'ipaddr.js';

/** A network such as 10.0.0.0/8, or one address. */
export type Network = [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/** Reads networks that were checked before. */
export function networksOf(texts: readonly string[]): Network[] {
  return texts.map((text) => {
    const address = plain(ipaddr.parse(text.split('/')[0] ?? ''));
    const bits = text.split('/')[1];
    return [address, bits === undefined ? address.toByteArray().length * 8 : Number(bits)];
  });
}

/** All of IPv6 that is given out to the internet. The library knows the exceptions in it, and not all that lies outside. */
const GLOBAL = ipaddr.parseCIDR('2000::/3');

/**
 * Whether an address belongs to the public internet: nothing that is private, local, shared, mapped to or from another
 * family, or kept for a purpose. What cannot be read is not public.
 */
export function isPublic(address: string): boolean {
  // Not `process`, which would take ::ffff:8.8.8.8 for 8.8.8.8: nobody reaches a public host like that.
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(GLOBAL as [ipaddr.IPv6, number])) return false;
  return parsed.range() === 'unicast';
}

/** Whether an address is in one of the networks. */
export function isWithin(address: string, networks: readonly Network[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = plain(ipaddr.parse(address));
  return networks.some(
    ([network, bits]) => network.kind() === parsed.kind() && parsed.match(network as never, bits),
  );
}

function plain(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}
