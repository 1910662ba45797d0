/** Random calls on the three queues beside a model: who gets which item, and who is refused. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PriorityQueue } from '../../lib/sync/priority-queue.ts';
import { LifoQueue, Queue } from '../../lib/sync/queue.ts';
import { seeded } from '../support/seeds.ts';
import { inRun } from '../task/support.ts';
import { anyMode, anyPace, type Call, Calls, type Mode, outcome, spendPace } from './model.ts';

interface Item {
  readonly rank: number;
  readonly id: number;
}

/** Where the next item is. */
type Choose = (items: readonly Item[]) => number;

const kinds: Record<string, { make: (maxSize: number) => Queue<Item>; choose: Choose }> = {
  Queue: { make: (maxSize) => new Queue(maxSize), choose: () => 0 },
  LifoQueue: { make: (maxSize) => new LifoQueue(maxSize), choose: (items) => items.length - 1 },
  PriorityQueue: {
    make: (maxSize) => new PriorityQueue(maxSize, (a, b) => a.rank - b.rank),
    choose: (items) => {
      const least = Math.min(...items.map((item) => item.rank));
      return items.findIndex((item) => item.rank === least);
    },
  },
};

const shutDown = 'QueueShutDown';

/** Arrays and searches: slow and plain. */
class Model {
  readonly limit: number;
  readonly choose: Choose;
  items: Item[] = [];
  getters: { call: Call; step: boolean }[] = [];
  putters: { call: Call; item: Item }[] = [];
  joiners: Call[] = [];
  unfinished = 0;
  ended = false;

  constructor(maxSize: number, choose: Choose) {
    this.limit = maxSize === 0 ? Infinity : maxSize;
    this.choose = choose;
  }

  /** What `putNowait` does. */
  offer(item: Item): unknown {
    if (this.ended) return shutDown;
    const getter = this.getters.shift();
    if (getter === undefined && this.items.length >= this.limit) return 'QueueFull';
    if (getter === undefined) this.items.push(item);
    else getter.call.expected = getter.step ? { value: item, done: false } : item;
    this.unfinished++;
    return undefined;
  }

  /** What `getNowait` does. */
  take(): unknown {
    if (this.items.length === 0) return this.ended ? shutDown : 'QueueEmpty';
    const [item] = this.items.splice(this.choose(this.items), 1);
    const putter = this.putters.shift();
    if (putter !== undefined) {
      putter.call.expected = undefined;
      this.items.push(putter.item);
      this.unfinished++;
    }
    return item;
  }

  put(call: Call, item: Item): void {
    const result = this.offer(item);
    if (result === 'QueueFull') this.putters.push({ call, item });
    else call.expected = result;
  }

  get(call: Call, step: boolean): void {
    const result = this.take();
    if (result === 'QueueEmpty') this.getters.push({ call, step });
    else if (!step) call.expected = result;
    else if (result === shutDown) call.expected = { value: undefined, done: true };
    else call.expected = { value: result, done: false };
  }

  taskDone(): unknown {
    if (this.unfinished === 0) return 'RangeError';
    this.unfinished--;
    return this.finish();
  }

  finish(): void {
    if (this.unfinished > 0) return;
    for (const joiner of this.joiners.splice(0)) joiner.expected = undefined;
  }

  shutdown(immediate: boolean): void {
    this.ended = true;
    for (const { call } of this.putters.splice(0)) call.expected = shutDown;
    if (immediate) {
      this.unfinished = Math.max(0, this.unfinished - this.items.splice(0).length);
      this.finish();
    }
    for (const { call, step } of this.getters.splice(0)) {
      call.expected = step ? { value: undefined, done: true } : shutDown;
    }
  }

  forget(cancelled: Call | undefined): void {
    this.getters = this.getters.filter(({ call }) => call !== cancelled);
    this.putters = this.putters.filter(({ call }) => call !== cancelled);
    this.joiners = this.joiners.filter((call) => call !== cancelled);
  }
}

const taking = ['get', 'step', 'join'] as const;

type Command =
  | { do: 'put'; mode: Mode; rank: number }
  | { do: (typeof taking)[number]; mode: Mode }
  | { do: 'putNowait'; rank: number }
  | { do: 'getNowait' }
  | { do: 'taskDone' }
  | { do: 'cancel'; index: number }
  | { do: 'settle' }
  | { do: 'shutdown'; immediate: boolean };

const rank = fc.nat(3);
const mode = anyMode;
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 18, arbitrary: fc.record({ do: fc.constant('put' as const), mode, rank }) },
  { weight: 25, arbitrary: fc.record({ do: fc.constantFrom(...taking), mode }) },
  { weight: 9, arbitrary: fc.record({ do: fc.constant('putNowait' as const), rank }) },
  { weight: 7, arbitrary: fc.constant({ do: 'getNowait' as const }) },
  { weight: 7, arbitrary: fc.constant({ do: 'taskDone' as const }) },
  { weight: 6, arbitrary: fc.constant({ do: 'settle' as const }) },
  { weight: 15, arbitrary: fc.record({ do: fc.constant('cancel' as const), index: fc.nat(40) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('shutdown' as const), immediate: fc.boolean() }),
  },
);

class Case {
  readonly queue: Queue<Item>;
  readonly model: Model;
  readonly calls = new Calls();
  #items = 0;

  constructor(queue: Queue<Item>, model: Model) {
    this.queue = queue;
    this.model = model;
  }

  async run(commands: readonly Command[]): Promise<void> {
    for (const what of commands) {
      if (what.do === 'settle') await this.calls.check();
      else this.#apply(what);
      expect(this.queue.size).toBe(this.model.items.length);
      expect(this.queue.full).toBe(this.model.items.length >= this.model.limit);
    }
    await this.calls.check();
    this.#apply({ do: 'shutdown', immediate: true });
    while (this.model.unfinished > 0) this.#apply({ do: 'taskDone' });
    await this.calls.check();
    expect(this.calls.all.filter((call) => call.waits)).toEqual([]);
  }

  #apply(what: Command): void {
    const { queue, model, calls } = this;
    if (what.do === 'put') {
      const item = { rank: what.rank, id: this.#items++ };
      const call = calls.start('put', what.mode, (options) => queue.put(item, options));
      if (call.waits) model.put(call, item);
    } else if (what.do === 'putNowait') {
      const item = { rank: what.rank, id: this.#items++ };
      expect(outcome(() => queue.putNowait(item))).toEqual(model.offer(item));
    } else if (what.do === 'getNowait') {
      expect(outcome(() => queue.getNowait())).toEqual(model.take());
    } else if (what.do === 'taskDone') {
      expect(outcome(() => queue.taskDone())).toEqual(model.taskDone());
    } else if (what.do === 'cancel') {
      model.forget(calls.cancel(what.index));
    } else if (what.do === 'shutdown') {
      queue.shutdown(what.immediate);
      model.shutdown(what.immediate);
    } else if (what.do !== 'settle') {
      this.#take(what.do, what.mode);
    }
  }

  #take(what: (typeof taking)[number], wanted: Mode): void {
    const { queue, model, calls } = this;
    if (what === 'get') {
      const call = calls.start('get', wanted, (options) => queue.get(options));
      if (call.waits) model.get(call, false);
    } else if (what === 'step') {
      // An iterator's step takes no signal.
      const mode = wanted === 'signal' ? 'edge' : wanted;
      const call = calls.start('step', mode, () => queue[Symbol.asyncIterator]().next());
      if (call.waits) model.get(call, true);
    } else {
      const call = calls.start('join', wanted, (options) => queue.join(options));
      if (call.waits) model.joiners.push(call);
      model.finish();
    }
  }
}

// covers: asyncio/queue, curio/queues
describe('random calls, seeded', () => {
  for (const [name, { make, choose }] of Object.entries(kinds)) {
    test(`${name} does what its model says`, { timeout: 60_000 }, () =>
      fc.assert(
        fc.asyncProperty(
          anyPace,
          fc.constantFrom(0, 0, 1, 2, 3),
          fc.array(command, { maxLength: 60 }),
          (spent, maxSize, commands) =>
            inRun(async () => {
              await spendPace(spent);
              await new Case(make(maxSize), new Model(maxSize, choose)).run(commands);
            }),
        ),
        seeded(),
      ),
    );
  }
});
