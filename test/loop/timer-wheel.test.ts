/** The wheel against a sorted array that does the same slowly. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { joinWords } from '../../lib/loop/double-words.ts';
import { TimerWheel } from '../../lib/loop/timer-wheel.ts';

class Target {
  slot = -1;
  id = -1;
  readonly deadline: number;
  readonly order: number;
  constructor(deadline: number, order: number) {
    this.deadline = deadline;
    this.order = order;
  }
  onTimer(): void {}
}

/** Deterministic numbers: the seed is in the test's name. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function firedMs(wheel: TimerWheel): number {
  return joinWords(wheel.firedHigh, wheel.firedLow);
}

class Model {
  readonly wheel: TimerWheel;
  live: Target[] = [];
  now: number;
  count = 0;

  constructor(now: number) {
    this.now = now;
    this.wheel = new TimerWheel(now);
  }

  arm(deadline: number): Target {
    const target = new Target(deadline, this.count++);
    target.slot = this.wheel.arm(deadline, target);
    target.id = this.wheel.idOf(target.slot);
    this.live.push(target);
    return target;
  }

  cancel(target: Target): void {
    expect(this.wheel.slotOf(target.id)).toBe(target.slot);
    this.wheel.cancel(target.slot);
    expect(this.wheel.slotOf(target.id)).toBe(-1);
    this.live = this.live.filter((other) => other !== target);
  }

  /** Moves the clock and compares what fired. */
  advance(to: number): void {
    this.now = Math.max(this.now, to);
    const due = this.live
      .filter((target) => target.deadline <= this.now)
      .sort((a, b) =>
        a.deadline < b.deadline ? -1 : a.deadline > b.deadline ? 1 : a.order - b.order,
      );
    this.live = this.live.filter((target) => target.deadline > this.now);
    this.wheel.collect(this.now);
    const fired: Target[] = [];
    expect(this.wheel.firstDueMs()).toBe(due[0]?.deadline ?? Infinity);
    for (let target = this.wheel.takeDue(); target !== null; target = this.wheel.takeDue()) {
      fired.push(target as Target);
      expect(firedMs(this.wheel)).toBe((target as Target).deadline);
      expect(this.wheel.slotOf((target as Target).id)).toBe(-1);
    }
    expect(fired.map((target) => target.order)).toEqual(due.map((target) => target.order));
    this.check();
  }

  check(): void {
    const finite = this.live.filter((target) => target.deadline !== Infinity);
    expect(this.wheel.size).toBe(this.live.length);
    expect(this.wheel.refs).toBe(finite.length);
    const least = Math.min(Infinity, ...finite.map((target) => target.deadline));
    const nearest = this.wheel.nearest();
    expect(nearest).toBeLessThanOrEqual(least);
    if (least !== Infinity) expect(nearest).toBeGreaterThan(-Infinity);
    // Short lists are exact, so an idle loop is not woken for nothing.
    if (finite.length < 64) expect(nearest).toBe(least);
  }
}

const spans = [
  0,
  0.3,
  1,
  5,
  255,
  256,
  1000,
  65_535,
  65_537,
  1e6,
  2 ** 24 + 3,
  2 ** 31 + 7,
  2 ** 33,
];

function randomRun(seed: number, steps: number): void {
  const random = generator(seed);
  const model = new Model(random() * 1e7);
  for (let step = 0; step < steps; step++) {
    const choice = random();
    const span = spans[Math.floor(random() * spans.length)] as number;
    if (choice < 0.55) {
      // Whole numbers often, so that deadlines collide.
      const ahead = random() < 0.5 ? span : random() * span;
      model.arm(random() < 0.1 ? model.now - span : Math.round(model.now) + ahead);
    } else if (choice < 0.7 && model.live.length > 0) {
      model.cancel(model.live[Math.floor(random() * model.live.length)] as Target);
    } else if (choice < 0.95) {
      model.advance(model.now + random() * 40);
    } else if (choice < 0.97) {
      model.arm(Infinity);
    } else {
      model.advance(model.now + (random() < 0.9 ? 1e6 : span));
    }
  }
  model.advance(model.now + 2 ** 34);
  expect(model.live.every((target) => target.deadline === Infinity)).toBe(true);
}

describe('TimerWheel', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('random operations, seed %i', (seed) => {
    randomRun(seed, 3000);
  });

  test('random deadlines in any order fire in order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { maxLength: 60 }),
        fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 20 }),
        (deadlines, jumps) => {
          const model = new Model(0);
          for (const deadline of deadlines) model.arm(deadline);
          for (const jump of jumps) model.advance(model.now + jump);
          model.advance(1e7);
        },
      ),
      { seed: 7, numRuns: 200 },
    );
  });

  test('many in one bucket of an upper level: a lower bound, then exact', () => {
    const model = new Model(0);
    for (let i = 0; i < 300; i++) model.arm(70_000 + i);
    expect(model.wheel.nearest()).toBe(65_536);
    model.advance(65_536);
    expect(model.wheel.nearest()).toBeGreaterThan(65_536);
    model.advance(70_000);
    expect(model.wheel.nearest()).toBe(70_001);
  });

  test('beyond 2^31, 2^32 and at 2^53 ms', () => {
    const model = new Model(1234.5);
    for (const far of [2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40, 2 ** 53]) {
      model.arm(far);
    }
    for (const to of [2 ** 31 - 1, 2 ** 32 - 0.5, 2 ** 32, 2 ** 32 + 5, 2 ** 39, 2 ** 41]) {
      model.advance(to);
    }
    expect(model.live.length).toBe(1);
    model.advance(2 ** 53);
    expect(model.live.length).toBe(0);
  });

  test('never early within a millisecond', () => {
    const model = new Model(0);
    model.arm(10.75);
    model.arm(10.25);
    model.advance(10);
    model.advance(10.5);
    expect(model.live.map((target) => target.deadline)).toEqual([10.75]);
    expect(model.wheel.nearest()).toBe(10.75);
    model.advance(10.75);
    expect(model.live).toEqual([]);
  });

  test('within a tick by deadlines where one is strict, else in order of arming', () => {
    const ahead = [300.7, 300.2, 301.9, 301.1, 70_000.5, 70_000.1];
    const wheel = new TimerWheel(0);
    const order: number[] = [];
    for (let i = 0; i < ahead.length; i++) {
      wheel.arm(ahead[i] as number, new Target(0, i), i === 3 || i === 4);
    }
    for (const nowMs of [300.5, 300.8, 303, 70_001]) {
      wheel.collect(nowMs);
      for (let next = wheel.takeDue(); next !== null; next = wheel.takeDue()) {
        order.push((next as Target).order);
        expect(firedMs(wheel)).toBeLessThanOrEqual(nowMs);
      }
    }
    expect(order).toEqual([1, 0, 3, 2, 5, 4]);
    wheel.arm(80_000.9, new Target(0, 0), false);
    wheel.arm(80_000.1, new Target(0, 1), false);
    wheel.collect(80_001);
    expect((wheel.takeDue() as Target).order).toBe(0);
    expect((wheel.takeDue() as Target).order).toBe(1);
    expect(wheel.takeDue()).toBeNull();
  });

  test('a due entry can be cancelled before it is taken', () => {
    const model = new Model(0);
    const [, b] = [model.arm(1), model.arm(2), model.arm(3)];
    model.wheel.collect(5);
    expect((model.wheel.takeDue() as Target).order).toBe(0);
    model.wheel.cancel((b as Target).slot);
    expect((model.wheel.takeDue() as Target).order).toBe(2);
    expect(model.wheel.takeDue()).toBeNull();
    expect(model.wheel.size).toBe(0);
  });

  test('what is armed while a batch is taken waits for the next collect', () => {
    const wheel = new TimerWheel(0);
    const first = new Target(1, 0);
    wheel.arm(1, first);
    wheel.collect(5);
    expect(wheel.takeDue()).toBe(first);
    const late = new Target(1, 1);
    wheel.arm(1, late);
    expect(wheel.takeDue()).toBeNull();
    wheel.collect(5);
    expect(wheel.takeDue()).toBe(late);
  });

  test('ids are not reused with their slots; refs are counted', () => {
    const wheel = new TimerWheel(0);
    const target = new Target(5, 0);
    const ids = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const slot = wheel.arm(5, target);
      const id = wheel.idOf(slot);
      expect(ids.has(id)).toBe(false);
      ids.add(id);
      wheel.setRef(slot, false);
      wheel.setRef(slot, false);
      expect(wheel.refs).toBe(0);
      expect(wheel.idOf(slot)).toBe(id);
      if (i % 2 === 0) wheel.setRef(slot, true);
      wheel.cancel(slot);
      expect(wheel.refs).toBe(0);
    }
    for (const id of ids) expect(wheel.slotOf(id)).toBe(-1);
    for (const id of [-1, 0, 5, 1e15, 2 ** 53]) expect(wheel.slotOf(id)).toBe(-1);
    const never = wheel.arm(Infinity, target);
    wheel.setRef(never, true);
    expect(wheel.refs).toBe(0);
    expect(wheel.nearest()).toBe(Infinity);
  });

  test('grows to 100,000 and takes them in order', () => {
    const wheel = new TimerWheel(0);
    const random = generator(99);
    for (let i = 0; i < 100_000; i++) wheel.arm(random() * 5000, new Target(0, i));
    wheel.collect(6000);
    let last = -1;
    for (let i = 0; i < 100_000; i++) {
      expect(wheel.takeDue()).not.toBeNull();
      const fired = firedMs(wheel);
      if (fired < last) expect.unreachable();
      last = fired;
    }
    expect(wheel.size).toBe(0);
  });

  test('of many at once no two share a slot; they fire in order, three times over', () => {
    const wheel = new TimerWheel(0);
    const random = generator(7);
    for (let round = 0; round < 3; round++) {
      const start = round * 1000;
      const held = new Map<number, Target>();
      const arm = (order: number): void => {
        const target = new Target(start + Math.floor(random() * 600), order);
        target.slot = wheel.arm(target.deadline, target, false);
        if (held.has(target.slot)) expect.unreachable();
        held.set(target.slot, target);
      };
      for (let i = 0; i < 5000; i++) arm(i);
      for (const target of [...held.values()].filter(({ order }) => order % 3 === 0)) {
        wheel.cancel(target.slot);
        held.delete(target.slot);
      }
      for (let i = 5000; i < 9000; i++) arm(i);
      const wanted = [...held.values()].sort(
        (a, b) => a.deadline - b.deadline || a.order - b.order,
      );
      wheel.collect(start + 900);
      const fired = Array.from(wanted, () => wheel.takeDue() as Target);
      expect(fired.map(({ order }) => order)).toEqual(wanted.map(({ order }) => order));
      expect([wheel.takeDue(), wheel.size, wheel.nearest()]).toEqual([null, 0, Infinity]);
    }
  });
});
