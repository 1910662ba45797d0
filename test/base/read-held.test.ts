import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { readHeld } from '../../lib/base/read-held.ts';

test('all chunks that a stream holds are taken, as one', () => {
  const stream = new Readable({ read() {} });
  expect(readHeld(stream)).toBe(null);
  stream.push(Buffer.from('one'));
  expect(String(readHeld(stream))).toBe('one');
  for (const text of ['two', 'three', 'four']) stream.push(Buffer.from(text));
  expect(String(readHeld(stream))).toBe('twothreefour');
  expect(readHeld(stream)).toBe(null);
});
