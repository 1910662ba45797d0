/**
 * Who wants which messages: one list per server.
 *
 * In: subscribers and what is published. Out: one frame for all of them; what is published in one
 * turn is one write for each of them. Never: a slow subscriber that others wait for; a topic that
 * nobody wants.
 */
import type { Buffer } from 'node:buffer';
import type { Data } from '../../base/errors.ts';
import { checkData } from '../../io/data.ts';
import type { EventLoop } from '../../io/handles.ts';
import { makeFrame } from './build.ts';
import { deflateAlone } from './deflate.ts';
import { opBinary, opText } from './frames.ts';
import { Run } from './run.ts';

export interface Subscriber {
  readonly terms: { readonly loop: EventLoop };
  /** False: it does not get it. */
  deliver(frames: SharedFrames, turn: Turn): boolean;
  writePublished(): void;
}

/** Runs of more bytes are written before the turn ends. */
export const maxRunBytes = 65_536;

/** What is published in one turn of a loop. */
export class Turn {
  /** From which all runs of it begin. */
  readonly root: Run = new Run();
  readonly #waiting: Subscriber[] = [];

  over = false;

  /** It has a run that is to be written at the turn's end. */
  add(subscriber: Subscriber): void {
    if (this.#waiting.push(subscriber) > 1) return;
    const { loop } = subscriber.terms;
    loop.callSoon(() => this.#end(loop));
  }

  #end(loop: EventLoop): void {
    this.over = true;
    for (const subscriber of this.#waiting) subscriber.writePublished();
    // Readers in this loop, and room in the kernel, come before what is published next.
    loop.endTurns();
  }
}

export class Topics {
  readonly #subscribers: Map<string, Set<Subscriber>> = new Map();
  #turn: Turn = new Turn();

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
    if (this.#turn.over) this.#turn = new Turn();
    let count = 0;
    for (const subscriber of set) {
      if (subscriber !== except && subscriber.deliver(frames, this.#turn)) count++;
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
