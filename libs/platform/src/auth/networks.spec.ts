import { describe, expect, test } from '@jest/globals';
import { isNetwork, isWithin, placeOf } from './networks.js';

describe('a network', () => {
  test.each([
    '10.0.0.0/8',
    '10.1.2.3',
    '10.1.2.3/32',
    '0.0.0.0/0',
    '2001:db8::/32',
    '::1',
    '::/0',
    '::ffff:10.0.0.0/104',
  ])('is %s', (text) => expect(isNetwork(text)).toBe(true));

  test.each([
    '',
    'x',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '10.0.0.0/8 ',
    '10.0.0/8',
    '127.1',
    '0x7f.0.0.1',
    '010.0.0.1',
    '2130706433',
    '10.0.0.7/8',
    '2001:db8::1/32',
    '2001:db8::/129',
    'fe80::1%eth0',
    ':::',
    '*',
  ])('is not %j', (text) => expect(isNetwork(text)).toBe(false));
});

describe('an address', () => {
  test.each([
    ['10.255.255.255', ['10.0.0.0/8'], true],
    ['11.0.0.0', ['10.0.0.0/8'], false],
    ['::ffff:10.0.0.1', ['10.0.0.0/8'], true],
    ['10.0.0.1', ['::ffff:10.0.0.0/104'], true],
    ['10.0.0.1', ['::/0'], false],
    ['::1', ['0.0.0.0/0'], false],
    ['10.0.0.1', ['10.0.0.1'], true],
    ['10.0.0.2', ['10.0.0.1'], false],
    ['2001:db8:ffff::1', ['192.0.2.0/24', '2001:db8::/32'], true],
    ['2001:db9::1', ['192.0.2.0/24', '2001:db8::/32'], false],
    ['fe80::1%eth0', ['fe80::/10'], true],
    ['10.0.0.1', [], false],
    ['10.0.0.1', ['broken'], false],
    ['', ['0.0.0.0/0', '::/0'], false],
    ['unknown', ['0.0.0.0/0', '::/0'], false],
    ['10.0.0.1, 10.0.0.2', ['0.0.0.0/0'], false],
  ])('%s is within %j: %s', (address, networks, within) => {
    expect(isWithin(address, networks)).toBe(within);
  });
});

test.each([
  ['10.0.0.1', '10.0.0.2', false],
  ['10.0.0.1', '::ffff:10.0.0.1', true],
  ['2001:db8:0:1::7', '2001:db8:0:1:ffff::1', true],
  ['2001:db8:0:1::7', '2001:db8:0:2::7', false],
  ['::1', '::2', true],
  ['', 'unknown', false],
])('whether %s and %s are one place that wrong credentials come from: %p', (one, other, same) => {
  expect(placeOf(one) === placeOf(other)).toBe(same);
});
