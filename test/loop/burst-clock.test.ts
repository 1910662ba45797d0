import { describe, expect, test } from 'vitest';
import { BurstClock } from '../../lib/loop/burst-clock.ts';
import { TimerWheel } from '../../lib/loop/timer-wheel.ts';

const target = { onTimer(): void {} };

/** A clock that moves by hand and counts how often it is read. */
function setup(): { wheel: TimerWheel; clock: BurstClock; time: { ms: number; reads: number } } {
  const time = { ms: 100, reads: 0 };
  const wheel = new TimerWheel(time.ms);
  const clock = new BurstClock(() => {
    time.reads++;
    return time.ms;
  }, wheel);
  time.reads = 0;
  return { wheel, clock, time };
}

/** Pairs until the clock is not read any more. */
function warm({ wheel, clock }: ReturnType<typeof setup>): void {
  for (let i = 0; i < 8; i++) wheel.cancel(clock.arm(5, target));
}

describe('BurstClock', () => {
  test('quick pairs share readings; timers that stay do not', () => {
    const all = setup();
    for (let i = 0; i < 1000; i++) all.wheel.cancel(all.clock.arm(5, target));
    expect(all.time.reads).toBeLessThan(50);
    const kept = setup();
    for (let i = 0; i < 100; i++) kept.clock.arm(5, target);
    expect(kept.time.reads).toBe(100);
  });

  test('slow pairs read the clock each time', () => {
    const all = setup();
    for (let i = 0; i < 100; i++) {
      all.wheel.cancel(all.clock.arm(5, target));
      all.time.ms += 0.01;
    }
    expect(all.time.reads).toBe(100);
  });

  test('a provisional timer counts from the next reading', () => {
    const all = setup();
    warm(all);
    const reads = all.time.reads;
    const slot = all.clock.arm(5, target);
    expect(all.time.reads).toBe(reads);
    all.time.ms += 0.4;
    all.clock.arm(9, target);
    expect(all.wheel.deadlineOf(slot)).toBe(100.4 + 5);
    all.time.ms += 3;
    all.clock.read();
    expect(all.wheel.deadlineOf(slot)).toBe(100.4 + 5);
    all.wheel.collect(105.3);
    expect(all.wheel.takeDue()).toBeNull();
    all.wheel.collect(105.4);
    expect(all.wheel.takeDue()).toBe(target);
  });

  test('a microtask settles what is left', async () => {
    const all = setup();
    warm(all);
    const slot = all.clock.arm(5, target);
    all.time.ms += 7;
    await Promise.resolve();
    expect(all.wheel.deadlineOf(slot)).toBe(112);
    const reads = all.time.reads;
    all.clock.arm(5, target);
    expect(all.time.reads).toBe(reads + 1);
  });

  test('Infinity is never provisional', () => {
    const all = setup();
    warm(all);
    const slot = all.clock.arm(Infinity, target);
    expect(all.wheel.deadlineOf(slot)).toBe(Infinity);
    expect(all.wheel.nothingProvisional()).toBe(true);
  });
});
