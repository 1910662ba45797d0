/**
 * The sending half of a WebSocket.
 *
 * In: messages, pings. Out: frames on the transport. Never: more waiting for a slow peer than
 * `maxBufferedBytes`; a frame after the close frame.
 */
import type { Buffer } from 'node:buffer';
import {
  argTypeError,
  BrokenResourceError,
  bufferFullError,
  ClosedResourceError,
  type Data,
  rangeError,
  type WaitOptions,
} from '../../base/errors.ts';
import { quieted, quietReject, resolved } from '../../base/quiet.ts';
import { checkData } from '../../io/data.ts';
import type { Transport } from '../../io/protocols.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../../task/waiter.ts';
import { writePace } from '../../task/write-pace.ts';
import { makeFrame, makeHeader, maxCopiedBytes } from './build.ts';
import { Compression } from './deflate.ts';
import { type FrameError, opBinary, opPing, opText } from './frames.ts';
import type { Agreed } from './handshake.ts';
import { Pings } from './pings.ts';
import type { Run } from './run.ts';
import type { Terms } from './terms.ts';
import {
  maxRunBytes,
  type SharedFrames,
  type Subscriber,
  type Topics,
  type Turn,
} from './topics.ts';

/** Our close frame was sent. */
export const flagCloseSent = 1;
/** The peer's came. */
export const flagCloseReceived = 2;
/** There is no connection any more. */
export const flagGone = 4;
/** The transport is above its high-water mark. */
export const flagFull = 8;
/** Messages came in the read that is looked at. */
export const flagFresh = 16;
/** Nothing more is read of the peer. */
export const flagStopped = 32;
/** Nothing is read until what came is taken, or what is sent is. */
export const flagHeld = 64;
/** A callback of its route runs: nobody waits for what it sends. */
export const flagCalling = 128;
/** The peer's FIN came. */
export const flagEof = 256;

/** What an open socket that only receives, or sends without a wait, does not need: memory. */
export class Rare {
  /** Why it broke; null while it did not. */
  fault: Error | null = null;
  closeCode: number | null = null;
  closeReason = '';
  pings: Pings | null = null;
  drains: Waiter<void>[] = [];
  closers: Waiter<void>[] = [];
  topics: Set<string> | null = null;
  /** What was published to it in this turn and is not written yet. */
  published: Run | null = null;
  endTimer = -1;
  /** What was read, and is looked at when what came before it was taken. */
  rest: Buffer | null = null;
  /** What ended the input, while it does not count yet. */
  ending: FrameError | Buffer | null = null;
  /** Messages that waited when the end was looked at last. */
  endingBehind: number = Infinity;
  /** It will be looked at in the next turn. */
  endingAsked = false;
  /** Sends that are done and whose senders wait for their turn. */
  paced = 0;
  /** What was still to be sent when the peer was last given time to read it. */
  leftBytes = 0;

  /** Somebody has sent and goes on later: by the loop's pace, or when the peer has read. */
  get sends(): boolean {
    return this.paced > 0 || this.drains.some(({ active }) => active);
  }
}

/**
 * Fields are plain: the other half is a class of its own. Methods are `private` rather than `#`: a
 * class with private methods adds a field to each of its objects.
 */
export abstract class SocketSender implements Subscriber {
  /** @internal */
  readonly terms: Terms;
  /** @internal */
  readonly agreed: Agreed;
  /** @internal */
  readonly compression: Compression | null;
  /** @internal */
  transport: Transport | null;
  /** @internal */
  flags: number;
  /** @internal */
  rareParts: Rare | null;

  constructor(terms: Terms, agreed: Agreed) {
    this.terms = terms;
    this.agreed = agreed;
    const { deflate } = agreed;
    this.compression = deflate === null ? null : new Compression(deflate);
    this.transport = null;
    this.flags = 0;
    this.rareParts = null;
  }

  get open(): boolean {
    const over = flagGone | flagCloseSent | flagCloseReceived;
    return (this.flags & over) === 0 && this.fault === null;
  }

  get closeCode(): number | null {
    return this.rareParts === null ? null : this.rareParts.closeCode;
  }

  get closeReason(): string {
    return this.rareParts === null ? '' : this.rareParts.closeReason;
  }

  get bufferedBytes(): number {
    const { transport, rareParts } = this;
    return (transport?.writeBufferBytes ?? 0) + (rareParts?.published?.bytes ?? 0);
  }

  /** @internal */
  get fault(): Error | null {
    return this.rareParts === null ? null : this.rareParts.fault;
  }

  /** @internal Only the first one counts. */
  break(why: Error): void {
    this.rare.fault ??= why;
  }

  /** @internal */
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** @internal */
  get rare(): Rare {
    this.rareParts ??= new Rare();
    return this.rareParts;
  }

  /** @internal */
  broken(): BrokenResourceError {
    const cause = this.fault as Error;
    return new BrokenResourceError(`The WebSocket broke: ${cause.message}`, { cause });
  }

  send(data: Data, options?: WaitOptions): Promise<void> {
    let checked: Data;
    try {
      checked = checkData(data);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.open) return quietReject(this.sendRefusal());
    const cancelled = takeCancellation();
    if (cancelled !== null) {
      const promise = cancelledPromise(cancelled);
      quieted(promise);
      return promise;
    }
    if (options?.signal?.aborted) return quietReject(options.signal.reason);
    this.writePublished();
    if (this.has(flagFull)) {
      const { maxBufferedBytes } = this.terms.plan;
      const { bufferedBytes } = this;
      if (bufferedBytes + checked.length > maxBufferedBytes) {
        return quietReject(bufferFullError(bufferedBytes, maxBufferedBytes));
      }
    }
    this.write(checked);
    return this.has(flagFull) ? this.waitForDrain(options) : this.pace(checked.length, options);
  }

  /** It is written; a loop of sends leaves others their turns. */
  private pace(bytes: number, options: WaitOptions | undefined): Promise<void> {
    if (this.has(flagCalling)) return resolved;
    const promise = writePace(this.terms.loop).written(bytes, options);
    if (promise === resolved) return promise;
    const { rare } = this;
    rare.paced++;
    const goOn = (): void => {
      rare.paced--;
      this.senderGoesOn();
    };
    // Before whoever waits for it does.
    promise.then(goOn, goOn);
    return promise;
  }

  /** @internal One that was held up. */
  abstract senderGoesOn(): void;

  sendJson(value: unknown, options?: WaitOptions): Promise<void> {
    try {
      const text = JSON.stringify(value) as string | undefined;
      if (text === undefined) throw argTypeError('value', 'a value that JSON has', value);
      return this.send(text, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private write(data: Data): void {
    const compression = this.compression;
    const opcode = typeof data === 'string' ? opText : opBinary;
    const { plan } = this.terms;
    if (compression === null || data.length < (plan.compress?.minBytes ?? 0)) {
      this.writeFrame(opcode, data);
    } else {
      this.writeFrame(opcode | 0x40, compression.deflate(data));
    }
  }

  private writeFrame(opcode: number, data: Data): void {
    const transport = this.transport as Transport;
    const { masker } = this.terms;
    if (masker === null && typeof data !== 'string' && data.length > maxCopiedBytes) {
      transport.writeLines([makeHeader(opcode, data.length), data]);
    } else {
      transport.write(makeFrame(opcode, data, masker));
    }
  }

  private waitForDrain(options: WaitOptions | undefined): Promise<void> {
    const waiter = new Waiter<void>('send');
    const promise = waiter.start(options);
    quieted(promise);
    if (waiter.active) this.rare.drains.push(waiter);
    return promise;
  }

  /** @internal */
  sendRefusal(): Error {
    if (this.fault !== null) return this.broken();
    return new ClosedResourceError('The WebSocket was closed');
  }

  ping(data?: Uint8Array, options?: WaitOptions): Promise<void> {
    if (data !== undefined && (!(data instanceof Uint8Array) || data.length > 125)) {
      return Promise.reject(argTypeError('data', 'at most 125 bytes', data));
    }
    if (!this.open) return quietReject(this.sendRefusal());
    const { rare } = this;
    rare.pings ??= new Pings();
    const { payload, promise } = rare.pings.add(data, options);
    if (payload !== null) this.sendControl(opPing, payload);
    return promise;
  }

  /** @internal */
  sendControl(opcode: number, payload: string | Uint8Array): void {
    this.writePublished();
    this.transport?.write(makeFrame(opcode, payload, this.terms.masker));
  }

  /** @internal All of it is one write. */
  writePublished(): void {
    const { rareParts } = this;
    if (rareParts === null || rareParts.published === null) return;
    const run = rareParts.published;
    rareParts.published = null;
    if (!this.has(flagGone)) this.transport?.write(run.joined());
  }

  pauseWriting(): void {
    this.flags |= flagFull;
  }

  resumeWriting(): void {
    this.flags &= ~flagFull;
    const rare = this.rareParts;
    if (rare === null || rare.drains.length === 0) return;
    const { drains } = rare;
    rare.drains = [];
    for (const waiter of drains) waiter.wake();
    this.senderGoesOn();
  }

  // ---- topics ----

  subscribe(topic: string): void {
    const topics = this.checkTopic(topic);
    if (!this.open) return;
    const rare = this.rare;
    rare.topics ??= new Set();
    rare.topics.add(topic);
    topics.add(topic, this);
  }

  unsubscribe(topic: string): void {
    const topics = this.checkTopic(topic);
    if (this.rareParts?.topics?.delete(topic)) topics.remove(topic, this);
  }

  publish(topic: string, data: Data): number {
    return this.checkTopic(topic).publish(topic, data, this);
  }

  private checkTopic(topic: unknown): Topics {
    if (typeof topic !== 'string') throw argTypeError('topic', 'a string', topic);
    const { topics } = this.terms;
    if (topics === null) throw rangeError('topic', 'of a server: clients have none', topic);
    return topics;
  }

  /** @internal False: it was left out, or its connection ended. */
  deliver(frames: SharedFrames, turn: Turn): boolean {
    if (!this.open) return false;
    const compression = this.compression;
    const { plan } = this.terms;
    const compressed = compression !== null && frames.bytes >= (plan.compress?.minBytes ?? 0);
    const frame = frames.for(compressed ? compression.agreement.sendBits : 0);
    const { rare } = this;
    const bytes = (rare.published?.bytes ?? 0) + frame.length;
    if (bytes > maxRunBytes) this.writePublished();
    if (this.has(flagFull) && this.bufferedBytes + frame.length > plan.maxBufferedBytes) {
      if (!plan.dropsWhenSlow) {
        rare.fault = new BrokenResourceError('The peer is too slow for what is published');
        this.transport?.abort();
      }
      return false;
    }
    if (rare.published === null) {
      rare.published = turn.root;
      turn.add(this);
    }
    rare.published = rare.published.followedBy(frame);
    if (compressed) compression.sentAlone();
    return true;
  }
}
