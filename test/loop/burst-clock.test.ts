import { describe, expect, test } from 'vitest';
import { BurstClock } from '../../lib/loop/burst-clock.ts';
import type { LoopTimer } from '../../lib/loop/handles.ts';

/** A clock that moves by hand, counts how often it is read, and notes what is armed for when. */
class Setup {
  readonly armed: { timer: LoopTimer; deadlineMs: number }[] = [];
  readonly clock: BurstClock;
  ms = 100;
  reads = 0;

  constructor() {
    this.clock = new BurstClock(
      () => {
        this.reads++;
        return this.ms;
      },
      (nowMs, delayMs, timer) => {
        timer.slot = 5000;
        this.armed.push({ timer, deadlineMs: nowMs + delayMs });
      },
    );
    this.reads = 0;
  }

  arm(delayMs: number): LoopTimer {
    const timer = { slot: 0 } as LoopTimer;
    this.clock.arm(delayMs, timer);
    return timer;
  }

  pair(): void {
    const timer = this.arm(5);
    if (timer.slot === 0) this.clock.drop();
    timer.slot = -2;
  }

  /** Pairs until the clock is not read any more. */
  warm(): this {
    for (let i = 0; i < 8; i++) this.pair();
    this.armed.length = 0;
    return this;
  }
}

describe('BurstClock', () => {
  test('quick pairs share readings; timers that stay do not', () => {
    const all = new Setup();
    for (let i = 0; i < 1000; i++) all.pair();
    expect(all.reads).toBeLessThan(50);
    const kept = new Setup();
    for (let i = 0; i < 100; i++) kept.arm(5);
    expect(kept.reads).toBe(100);
    expect(kept.armed.length).toBe(100);
  });

  test('slow pairs read the clock each time', () => {
    const all = new Setup();
    for (let i = 0; i < 100; i++) {
      all.pair();
      all.ms += 0.01;
    }
    expect(all.reads).toBe(100);
  });

  test('a pending timer counts from the next reading, and is armed before the next', () => {
    const all = new Setup().warm();
    const { reads } = all;
    const first = all.arm(5);
    expect(all.reads).toBe(reads);
    expect(all.armed).toEqual([]);
    all.ms += 0.4;
    const second = all.arm(9);
    expect(all.armed).toEqual([
      { timer: first, deadlineMs: 100.4 + 5 },
      { timer: second, deadlineMs: 100.4 + 9 },
    ]);
    all.ms += 3;
    all.clock.read();
    expect(all.armed.length).toBe(2);
  });

  test('a microtask arms what is left', async () => {
    const all = new Setup().warm();
    const timer = all.arm(5);
    all.ms += 7;
    await Promise.resolve();
    expect(all.armed).toEqual([{ timer, deadlineMs: 112 }]);
    const { reads } = all;
    all.arm(5);
    expect(all.reads).toBe(reads + 1);
  });

  test('what is dropped is never armed', async () => {
    const all = new Setup().warm();
    all.arm(5);
    expect(all.clock.drop()).toBe(105);
    await Promise.resolve();
    expect(all.armed).toEqual([]);
  });

  test.each([0, Infinity])('a delay of %s is never pending', (delayMs) => {
    const all = new Setup().warm();
    const timer = all.arm(delayMs);
    expect(all.armed).toEqual([{ timer, deadlineMs: 100 + delayMs }]);
    expect(all.clock.pending).toBeNull();
  });
});
