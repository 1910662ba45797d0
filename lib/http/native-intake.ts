/**
 * From the bytes of a connection to exchanges and their bodies, by the addon's parser.
 *
 * In: reads, cut anywhere. Out: exchanges in order, pieces of bodies, one refusal. Never: user
 * code: whoever feeds it delivers afterwards.
 */
import { Buffer } from 'node:buffer';
import type { ByteParsers } from '../io/handles.ts';
import { type ExchangeHome, NativeExchange } from './native-exchange.ts';
import { latin1 } from './native-head.ts';
import {
  BUDGET,
  CONSUMED,
  HEAD_START,
  HEAD_WORDS,
  MAX_BYTES,
  MAX_HEADERS,
  METHODS,
  MODE,
  PHASE,
  PHASE_FIRST_OF_HEAD,
  PHASE_LAST_OF_HEAD,
  PHASE_START,
  REASONS,
  RECORD_BAD,
  RECORD_DATA,
  RECORD_END,
  RECORD_HEAD,
  STATE_WORDS,
  STOP,
  STOP_NO_BUDGET,
  STOP_NO_ROOM,
  STOP_UPGRADED,
  TARGET_FRESH,
  TRAILERS,
} from './native-records.ts';
import type { WireLimits } from './wire.ts';

/** Pieces of a body shorter than this are moved together. */
const smallPieceBytes = 512;
/** A first guess at the rest of a head that was cut. */
const firstHeadBytes = 512;

/** By id; one table for each thread, as the addon's. */
const targets: string[] = [];

export class NativeIntake {
  readonly #home: ExchangeHome;
  readonly #parsers: ByteParsers;
  readonly #limits: WireLimits;
  /** The parser's state while it is inside a message; else void. */
  #saved: Int32Array | null = null;
  #inMessage = false;
  /** The beginning of a head that is not complete. */
  #head: Buffer | null = null;
  #headBytes = 0;
  /** What came behind the last head that is allowed, or behind a handshake. */
  rest: Buffer | null = null;
  /** The request of which bytes came last; null again once it is done with. */
  latest: NativeExchange | null = null;
  /** No head has been complete. */
  fresh = true;
  refusal: { readonly status: number; readonly reason: string } | null = null;

  constructor(home: ExchangeHome, parsers: ByteParsers, limits: WireLimits) {
    this.#home = home;
    this.#parsers = parsers;
    this.#limits = limits;
  }

  /** A head has begun and is not complete. */
  get inHead(): boolean {
    return this.#head !== null;
  }

  /** A message has begun and is not complete. */
  get inMessage(): boolean {
    return this.#inMessage;
  }

  /** An idle connection holds no bytes that it has read. */
  forget(): void {
    if (this.latest?.complete === true) this.latest = null;
  }

  /** At most `budget` new exchanges are pushed to `queue`. */
  feed(
    given: Buffer,
    givenFrom: number,
    givenTo: number,
    budget: number,
    queue: (NativeExchange | undefined)[],
  ): void {
    let bytes = given;
    let from = givenFrom;
    let to = givenTo;
    if (this.#head !== null) {
      from = this.#headBytes;
      bytes = this.#append(given, givenFrom, givenTo);
      to = this.#headBytes;
    }
    const words = this.#begin(budget);
    do {
      const count = this.#parsers.parseHttp1(bytes, from, to);
      if (count < 0) throw new Error('uvio bug: bad call of the HTTP/1 parser');
      this.#take(bytes, words, count, queue);
      from = words[CONSUMED] as number;
    } while (words[STOP] === STOP_NO_ROOM);
    this.#finish(words, bytes, from, to);
  }

  /** The cut head with what came after it, in one buffer that grows by doubling. */
  #append(bytes: Buffer, from: number, to: number): Buffer {
    let head = this.#head as Buffer;
    const total = this.#headBytes + to - from;
    if (total > head.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(total, head.length * 2));
      head.copy(larger, 0, 0, this.#headBytes);
      head = larger;
    }
    bytes.copy(head, this.#headBytes, from, to);
    this.#head = head;
    this.#headBytes = total;
    return head;
  }

  #begin(budget: number): Int32Array {
    const words = this.#parsers.http1;
    if (this.#inMessage) {
      words.set(this.#saved as Int32Array);
    } else {
      words[PHASE] = PHASE_START;
      words[MODE] = 0;
      words[HEAD_START] = 0;
    }
    words[MAX_BYTES] = this.#limits.maxHeaderBytes;
    words[MAX_HEADERS] = this.#limits.maxHeaders;
    words[BUDGET] = budget;
    return words;
  }

  #finish(words: Int32Array, bytes: Buffer, at: number, to: number): void {
    const stop = words[STOP] as number;
    // Behind a handshake also what is still to come: it may not be HTTP.
    if (stop === STOP_UPGRADED || (stop === STOP_NO_BUDGET && at < to)) {
      this.rest = bytes.subarray(at, to);
    }
    const phase = words[PHASE] as number;
    this.#inMessage = phase !== PHASE_START && this.refusal === null && stop !== STOP_UPGRADED;
    if (!this.#inMessage) {
      this.#head = null;
      return;
    }
    const inHead =
      phase >= PHASE_FIRST_OF_HEAD && phase <= PHASE_LAST_OF_HEAD && words[TRAILERS] === 0;
    if (inHead) {
      this.#keepHead(words, bytes, to);
    } else {
      // Also while trailers are read: no line of them is looked at again.
      words[HEAD_START] = 0;
      this.#head = null;
    }
    this.#saved ??= new Int32Array(STATE_WORDS);
    this.#saved.set(words.subarray(0, STATE_WORDS));
  }

  #keepHead(words: Int32Array, bytes: Buffer, to: number): void {
    const start = words[HEAD_START] as number;
    words[HEAD_START] = 0;
    if (bytes === this.#head && start === 0) return;
    const kept = to - start;
    const head = Buffer.allocUnsafeSlow(Math.max(firstHeadBytes, kept * 2));
    bytes.copy(head, 0, start, to);
    this.#head = head;
    this.#headBytes = kept;
  }

  #take(
    bytes: Buffer,
    words: Int32Array,
    count: number,
    queue: (NativeExchange | undefined)[],
  ): void {
    const end = STATE_WORDS + count;
    for (let at = STATE_WORDS; at < end; ) {
      const kind = words[at] as number;
      if (kind === RECORD_HEAD) {
        const next = this.#exchange(bytes, words, at);
        // Only the last one may go on, and the collector must hear of pointers from old to new.
        if (at + HEAD_WORDS >= end || words[at + HEAD_WORDS] !== RECORD_HEAD) this.latest = next;
        this.fresh = false;
        queue.push(next);
        at += HEAD_WORDS;
      } else if (kind === RECORD_DATA) {
        at = this.#takeData(bytes, words, at, end);
      } else if (kind === RECORD_END) {
        const { body } = this.latest as NativeExchange;
        if (body !== null) body.complete = true;
        at += 1;
      } else {
        if (kind === RECORD_BAD) {
          const status = words[at + 1] as number;
          this.refusal = { status, reason: REASONS[words[at + 2] as number] as string };
        }
        at += 3;
      }
    }
  }

  #exchange(bytes: Buffer, words: Int32Array, at: number): NativeExchange {
    const start = words[at + 1] as number;
    const methodId = words[at + 4] as number;
    const method =
      methodId === 0
        ? latin1(bytes, start, start + (words[at + 5] as number))
        : (METHODS[methodId] as string);
    return new NativeExchange(
      this.#home,
      bytes,
      start + (words[at + 12] as number),
      start + (words[at + 2] as number) - 2,
      words[at + 9] as number,
      method,
      targetOf(bytes, words, at),
      words[at + 3] as number,
      (words[at + 11] as number) * 2 ** 32 + ((words[at + 10] as number) >>> 0),
    );
  }

  /**
   * The pieces of a body that follow one another. Short ones are moved up to the one before, over
   * the lines between them, which are done with: a reader must not pay for each tiny chunk.
   */
  #takeData(bytes: Buffer, words: Int32Array, from: number, end: number): number {
    const start = words[from + 1] as number;
    let size = words[from + 2] as number;
    let at = from + 3;
    while (at < end && words[at] === RECORD_DATA && (words[at + 2] as number) < smallPieceBytes) {
      const piece = words[at + 1] as number;
      const pieceBytes = words[at + 2] as number;
      bytes.copyWithin(start + size, piece, piece + pieceBytes);
      size += pieceBytes;
      at += 3;
    }
    (this.latest as NativeExchange).body?.add(bytes.subarray(start, start + size));
    return at;
  }
}

function targetOf(bytes: Buffer, words: Int32Array, at: number): string {
  const id = words[at + 8] as number;
  if (id >= 0 && id < TARGET_FRESH) return targets[id] as string;
  const from = words[at + 6] as number;
  const target = latin1(bytes, from, from + (words[at + 7] as number));
  if (id >= 0) targets[id - TARGET_FRESH] = target;
  return target;
}
