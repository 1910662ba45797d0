import { describe, expect, test } from 'vitest';
import { assert, unreachable } from '../../lib/base/assert.ts';
import { checkBytes, checkCount, checkInteger, checkMs, checkPort } from '../../lib/base/units.ts';

describe('units', () => {
  test('milliseconds', () => {
    for (const ms of [0, 1.5, -1, Infinity, -Infinity]) expect(checkMs('delayMs', ms)).toBe(ms);
    for (const bad of [NaN, '5', undefined, null, 5n, {}]) {
      expect(() => checkMs('delayMs', bad)).toThrow(TypeError);
      expect(() => checkMs('delayMs', bad)).toThrow(/"delayMs".*milliseconds/);
    }
  });

  test('integers, bytes and ports', () => {
    expect(checkInteger('n', 3, 1, 3)).toBe(3);
    expect(() => checkInteger('n', 4, 1, 3)).toThrow(RangeError);
    expect(() => checkInteger('n', 1.5)).toThrow(RangeError);
    expect(() => checkInteger('n', NaN)).toThrow(RangeError);
    expect(() => checkInteger('n', '1')).toThrow(TypeError);
    expect(checkBytes('b', Infinity)).toBe(Infinity);
    expect(() => checkBytes('b', -1)).toThrow(RangeError);
    expect([checkCount('n', Infinity, 2), checkCount('n', 2, 2)]).toEqual([Infinity, 2]);
    expect(() => checkCount('n', 1, 2)).toThrow(RangeError);
    expect(checkPort('port', 65_535)).toBe(65_535);
    expect(() => checkPort('port', 65_536)).toThrow(RangeError);
  });

  test('assertions', () => {
    expect(() => assert(1, 'fine')).not.toThrow();
    expect(() => assert(0, 'broken')).toThrow('uvio bug: broken');
    expect(() => unreachable('x' as never)).toThrow('uvio bug');
  });
});
