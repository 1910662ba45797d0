/**
 * Who wants which messages: one list per server.
 *
 * In: subscribers and what is published. Out: one frame for all of them. Never: a slow subscriber
 * that others wait for; a topic that nobody wants.
 */
import type { Buffer } from 'node:buffer';
import type { Data } from '../../base/errors.ts';
import { checkData } from '../../io/data.ts';
import { makeFrame } from './build.ts';
import { deflateAlone } from './deflate.ts';
import { opBinary, opText } from './frames.ts';

export interface Subscriber {
  deliver(frames: SharedFrames): boolean;
}

export class Topics {
  readonly #subscribers: Map<string, Set<Subscriber>> = new Map();

  add(topic: string, subscriber: Subscriber): void {
    let set = this.#subscribers.get(topic);
    if (set === undefined) {
      set = new Set();
      this.#subscribers.set(topic, set);
    }
    set.add(subscriber);
  }

  remove(topic: string, subscriber: Subscriber): void {
    const set = this.#subscribers.get(topic);
    if (set === undefined) return;
    set.delete(subscriber);
    if (set.size === 0) this.#subscribers.delete(topic);
  }

  /** How many get it. @param except null: nobody is left out */
  publish(topic: string, data: Data, except: Subscriber | null): number {
    const checked = checkData(data);
    const set = this.#subscribers.get(topic);
    if (set === undefined) return 0;
    const frames = new SharedFrames(checked);
    let count = 0;
    for (const subscriber of set) {
      if (subscriber !== except && subscriber.deliver(frames)) count++;
    }
    return count;
  }
}

/** A message framed once, and once more for each window of compression in use. */
export class SharedFrames {
  readonly #data: Data;
  readonly #frames: (Buffer | undefined)[] = [];

  constructor(data: Data) {
    this.#data = data;
  }

  /** A string counts by its code units. */
  get bytes(): number {
    return this.#data.length;
  }

  /** @param windowBits 0: not compressed */
  for(windowBits: number): Buffer {
    this.#frames[windowBits] ??= this.#make(windowBits);
    return this.#frames[windowBits];
  }

  #make(windowBits: number): Buffer {
    const data = this.#data;
    const opcode = typeof data === 'string' ? opText : opBinary;
    if (windowBits === 0) return makeFrame(opcode, data, null, true);
    return makeFrame(opcode | 0x40, deflateAlone(data, windowBits), null, true);
  }
}
