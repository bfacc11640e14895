import { expect, test } from '@jest/globals';
import { addressOf, isMailAddress, isSender } from './mail-address.js';

test.each(['a@b', 'ann@example.com', "o'brien+jobs@mail.example.co.uk", 'a.b_c%d@x-y.example'])(
  'is an address: %s',
  (text) => expect(isMailAddress(text)).toBe(true),
);

test.each([
  '',
  'ann',
  '@example.com',
  'ann@',
  'ann@@example.com',
  'ann@example..com',
  '.ann@example.com',
  'ann.@example.com',
  'ann@-example.com',
  'ann@example.com\n',
  'ann@example.com\r\nBcc: bob@example.com',
  'ann@example.com\0',
  'ann@example.com,bob@example.com',
  'ann@example.com bob@example.com',
  'Ann <ann@example.com>',
  '"ann"@example.com',
  '(x)ann@example.com',
  'änn@example.com',
  'ann@[127.0.0.1]',
  `${'a'.repeat(65)}@example.com`,
  `a@${'a.'.repeat(130)}com`,
])('is none, and can add neither a header nor a recipient: %j', (text) => {
  expect(isMailAddress(text)).toBe(false);
});

test('a sender may have a name, without anything in it that a header could be made of', () => {
  expect(isSender('Longhaul <jobs@example.com>')).toBe(true);
  expect(isSender('jobs@example.com')).toBe(true);
  expect(isSender('Long\r\nhaul <jobs@example.com>')).toBe(false);
  expect(isSender('Longhaul <jobs>')).toBe(false);
  expect(addressOf('Longhaul <jobs@example.com>')).toBe('jobs@example.com');
  expect(addressOf('jobs@example.com')).toBe('jobs@example.com');
});
