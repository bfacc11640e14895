import { describe, expect, test } from '@jest/globals';
import { checkAddress } from './check-address.js';
import { networksOf } from './networks.js';

const PUBLIC = '93.184.215.14';
/** What a name server would say. */
const names: Record<string, string[]> = {
  'example.com': [PUBLIC, '2606:2800:21f:cb07:6820:80da:af6b:8b2c'],
  'half.example.com': [PUBLIC, '10.0.0.7'],
  'inside.example.com': ['192.168.1.1'],
};
const resolve = async (host: string) => names[host] ?? [];
const noServer = () => Promise.reject(new Error('no server'));
const check = (address: string, allowed: string[] = []) =>
  checkAddress(address, resolve, networksOf(allowed)).then(
    ({ url, hosts }) => ({ host: url.host, addresses: hosts.map((host) => host.address) }),
    ({ code }: { code: string }) => code,
  );

test.each([
  'https://example.com/x?y=1',
  'https://example.com:443',
  'https://example.com:8443/',
  'https://EXAMPLE.com',
])('an address of a public host may be called: %s', async (address) => {
  expect(await check(address)).toMatchObject({ addresses: names['example.com'] });
});

test.each([
  'http://example.com',
  'ftp://example.com',
  'file:///etc/passwd',
  'gopher://example.com',
  'javascript:alert(1)',
  'data:text/plain,x',
  'ws://example.com',
  '//example.com',
  'example.com',
  '',
])('input 73: only https is called: %s', async (address) => {
  expect(await check(address)).toBe('bad-address');
});

test.each([
  'https://127.0.0.1',
  'https://0.0.0.0',
  'https://10.1.2.3',
  'https://172.16.0.1',
  'https://192.168.0.1',
  'https://169.254.169.254/latest/meta-data',
  'https://100.64.0.1',
  'https://224.0.0.1',
  'https://255.255.255.255',
  'https://198.18.0.1',
  'https://192.0.2.1',
  'https://240.0.0.1',
  'https://[::1]',
  'https://[::]',
  'https://[::ffff:10.0.0.1]',
  'https://[::ffff:7f00:1]',
  'https://[::127.0.0.1]',
  'https://[fd00::1]',
  'https://[fe80::1]',
  'https://[ff02::1]',
  'https://[64:ff9b::a00:1]',
  'https://[64:ff9b:1::a00:1]',
  'https://[2002:a00:1::]',
  'https://[2001:db8::1]',
  'https://2130706433',
  'https://0x7f.1',
  'https://0x7f000001',
  'https://127.1',
  'https://0177.0.0.1',
  'https://１２７.0.0.1',
  'https://localhost',
  'https://localhost.',
  'https://a.localhost',
  'https://metadata.google.internal',
  'https://metadata.google.internal.',
  'https://printer.local',
  'https://postgres',
  'https://half.example.com',
  'https://inside.example.com',
])('input 74: no private host is called, however it is written: %s', async (address) => {
  expect(await check(address)).toBe('blocked-address');
});

test.each([
  ['a user', 'https://a@127.0.0.1'],
  ['a user and a password', 'https://a:b@example.com'],
  ['a fragment', 'https://example.com/#x'],
  ['another port', 'https://example.com:22'],
  ['a tab', 'https://exam\tple.com'],
  ['the end of a line', 'https://example.com/\r\nx: y'],
  ['a space', ' https://example.com'],
  ['a backslash', 'https:\\\\example.com'],
  ['no end', `https://example.com/${'x'.repeat(2000)}`],
])('input 74: an address with %s is none', async (_what, address) => {
  expect(await check(address)).toBe('bad-address');
});

test('a name without an address is told apart, for it may get one', async () => {
  expect(await check('https://nobody.example.com')).toBe('unresolved');
  await expect(checkAddress('https://example.com', noServer, [])).rejects.toMatchObject({
    code: 'unresolved',
  });
});

describe('networks that are allowed', () => {
  test('may be called over http, and at any port', async () => {
    expect(await check('http://127.0.0.1:4000/x', ['127.0.0.0/8'])).toMatchObject({
      addresses: ['127.0.0.1'],
    });
    expect(await check('http://[::1]:4000', ['::1'])).toMatchObject({ addresses: ['::1'] });
    expect(await check('http://inside.example.com', ['192.168.1.1'])).toMatchObject({
      addresses: ['192.168.1.1'],
    });
  });

  test('open nothing else', async () => {
    expect(await check('https://10.0.0.1', ['127.0.0.0/8'])).toBe('blocked-address');
    expect(await check('https://127.0.0.1', ['::1'])).toBe('blocked-address');
    // One of its addresses is allowed, and the other one public: it is called as a public one.
    expect(await check('http://half.example.com', ['10.0.0.0/8'])).toBe('bad-address');
    expect(await check('https://localhost', ['127.0.0.0/8'])).toBe('blocked-address');
  });
});
