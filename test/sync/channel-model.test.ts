/** Random calls on the ends of a memory channel beside a model. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  openMemoryChannel,
  type ReceiveChannel,
  type SendChannel,
} from '../../lib/sync/channel.ts';
import { seeded } from '../support/seeds.ts';
import { inRun } from '../task/support.ts';
import { anyMode, anyPace, type Call, Calls, type Mode, outcome, spendPace } from './model.ts';

const closed = 'ClosedResourceError';
const broken = 'BrokenResourceError';
const block = 'WouldBlock';
const ended = 'EndOfChannel';

/** Ends by index: open or not. */
class Model {
  readonly capacity: number;
  items: number[] = [];
  senders: boolean[] = [true, true];
  receivers: boolean[] = [true, true];
  sends: { call: Call; item: number; end: number }[] = [];
  receives: { call: Call; step: boolean; end: number }[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get openSenders(): number {
    return this.senders.filter(Boolean).length;
  }

  get openReceivers(): number {
    return this.receivers.filter(Boolean).length;
  }

  /** What `sendNowait` does. */
  offer(end: number, item: number): unknown {
    if (!this.senders[end]) return closed;
    if (this.openReceivers === 0) return broken;
    const receive = this.receives.shift();
    if (receive !== undefined) {
      receive.call.expected = receive.step ? { value: item, done: false } : item;
    } else if (this.items.length < this.capacity) {
      this.items.push(item);
    } else {
      return block;
    }
    return undefined;
  }

  /** What `receiveNowait` does. */
  take(end: number): unknown {
    if (!this.receivers[end]) return closed;
    const send = this.sends.shift();
    if (send !== undefined) {
      send.call.expected = undefined;
      this.items.push(send.item);
    }
    if (this.items.length > 0) return this.items.shift();
    return this.openSenders === 0 ? ended : block;
  }

  send(call: Call, end: number, item: number): void {
    const result = this.offer(end, item);
    if (result === block) this.sends.push({ call, item, end });
    else call.expected = result;
  }

  receive(call: Call, end: number, step: boolean): void {
    const result = this.take(end);
    if (result === block) this.receives.push({ call, step, end });
    else if (step && result === ended) call.expected = { value: undefined, done: true };
    else call.expected = step && result !== closed ? { value: result, done: false } : result;
  }

  closeSender(end: number): void {
    if (!this.senders[end]) return;
    this.senders[end] = false;
    for (const { call } of this.sends.filter((send) => send.end === end)) call.expected = closed;
    this.sends = this.sends.filter((send) => send.end !== end);
    if (this.openSenders > 0) return;
    for (const { call, step } of this.receives.splice(0)) {
      call.expected = step ? { value: undefined, done: true } : ended;
    }
  }

  closeReceiver(end: number): void {
    if (!this.receivers[end]) return;
    this.receivers[end] = false;
    const own = this.receives.filter((receive) => receive.end === end);
    for (const { call } of own) call.expected = closed;
    this.receives = this.receives.filter((receive) => receive.end !== end);
    if (this.openReceivers > 0) return;
    this.items = [];
    for (const { call } of this.sends.splice(0)) call.expected = broken;
  }

  forget(cancelled: Call | undefined): void {
    this.sends = this.sends.filter(({ call }) => call !== cancelled);
    this.receives = this.receives.filter(({ call }) => call !== cancelled);
  }

  statistics(): unknown {
    return {
      buffered: this.items.length,
      capacity: this.capacity,
      senders: this.openSenders,
      receivers: this.openReceivers,
      waitingSenders: this.sends.length,
      waitingReceivers: this.receives.length,
    };
  }
}

const waiting = ['send', 'receive', 'step'] as const;
const atOnce = ['sendNowait', 'receiveNowait'] as const;
const ends = ['cloneSender', 'cloneReceiver', 'closeSender', 'closeReceiver'] as const;

type Command =
  | { do: (typeof waiting)[number]; end: number; mode: Mode }
  | { do: (typeof atOnce)[number] | (typeof ends)[number]; end: number }
  | { do: 'cancel'; index: number }
  | { do: 'settle' };

const end = fc.nat(5);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constantFrom(...waiting), end, mode: anyMode }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom(...atOnce), end }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom(...ends), end }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('cancel' as const), index: fc.nat(40) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
);

class Case {
  readonly model: Model;
  readonly calls = new Calls();
  readonly senders: SendChannel<number>[];
  readonly receivers: ReceiveChannel<number>[];
  #items = 0;

  constructor(capacity: number) {
    this.model = new Model(capacity);
    const [send, receive] = openMemoryChannel<number>(capacity);
    this.senders = [send, send.clone()];
    this.receivers = [receive, receive.clone()];
  }

  async run(commands: readonly Command[]): Promise<void> {
    for (const what of commands) {
      if (what.do === 'settle') await this.calls.check();
      else if (what.do === 'cancel') this.model.forget(this.calls.cancel(what.index));
      else this.#apply(what, what.end % this.senders.length, what.end % this.receivers.length);
      expect(this.senders[0]?.statistics()).toEqual(this.model.statistics());
    }
    await this.calls.check();
    for (let i = 0; i < this.senders.length; i++) this.#apply({ do: 'closeSender', end: i }, i, 0);
    for (let i = 0; i < this.receivers.length; i++) {
      this.#apply({ do: 'closeReceiver', end: i }, 0, i);
    }
    await this.calls.check();
    expect(this.calls.all.filter((call) => call.waits)).toEqual([]);
  }

  #apply(what: Extract<Command, { end: number }>, from: number, to: number): void {
    const { model, calls } = this;
    const sender = this.senders[from] as SendChannel<number>;
    const receiver = this.receivers[to] as ReceiveChannel<number>;
    if (what.do === 'send') {
      const item = this.#items++;
      const call = calls.start(`send at ${from}`, what.mode, (o) => sender.send(item, o));
      if (call.waits) model.send(call, from, item);
    } else if (what.do === 'receive') {
      const call = calls.start(`receive at ${to}`, what.mode, (o) => receiver.receive(o));
      if (call.waits) model.receive(call, to, false);
    } else if (what.do === 'step') {
      const mode = what.mode === 'signal' ? 'edge' : what.mode;
      const steps = receiver[Symbol.asyncIterator]();
      const call = calls.start(`step at ${to}`, mode, () => steps.next());
      if (call.waits) model.receive(call, to, true);
    } else if (what.do === 'sendNowait') {
      const item = this.#items++;
      expect(outcome(() => sender.sendNowait(item))).toBe(model.offer(from, item));
    } else if (what.do === 'receiveNowait') {
      expect(outcome(() => receiver.receiveNowait())).toBe(model.take(to));
    } else {
      this.#changeEnds(what.do, from, to);
    }
  }

  #changeEnds(what: (typeof ends)[number], from: number, to: number): void {
    const { model } = this;
    if (what === 'closeSender') {
      this.senders[from]?.close();
      model.closeSender(from);
    } else if (what === 'closeReceiver') {
      this.receivers[to]?.close();
      model.closeReceiver(to);
    } else if (what === 'cloneSender') {
      const result = outcome(() => this.senders.push(this.senders[from]?.clone() as never));
      expect(result).toBe(model.senders[from] ? model.senders.push(true) : closed);
    } else {
      const result = outcome(() => this.receivers.push(this.receivers[to]?.clone() as never));
      expect(result).toBe(model.receivers[to] ? model.receivers.push(true) : closed);
    }
  }
}

// covers: trio/open-memory-channel
test('a memory channel does what its model says, seeded', { timeout: 60_000 }, () =>
  fc.assert(
    fc.asyncProperty(
      anyPace,
      fc.constantFrom(0, 0, 1, 2, Infinity),
      fc.array(command, { maxLength: 60 }),
      (spent, capacity, commands) =>
        inRun(async () => {
          await spendPace(spent);
          await new Case(capacity).run(commands);
        }),
    ),
    seeded(),
  ),
);
