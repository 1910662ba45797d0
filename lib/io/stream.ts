/**
 * What transports and connections have in common: one open stream on this side.
 *
 * In: a stream handle of the backend. Out: addresses, options, the list its server keeps.
 * Never: protocols, promises.
 */
import { ClosedResourceError, type Data, InvalidStateError } from '../base/errors.ts';
import type { SocketAddress, StreamHandle, StreamSink } from '../loop/backend.ts';
import { connectionClosed, connectionOpened } from '../loop/channels.ts';
import { dataBytes, Parts } from './data.ts';
import type { StreamLimits } from './limits.ts';
import type { TlsInfo } from './net-types.ts';
import { TlsStream } from './tls/stream.ts';

/** A server; told when one of its streams is gone. */
export interface StreamOwner {
  /** @internal */
  streamGone(stream: Stream): void;
  /** @internal `startTls` made another one of it. */
  streamReplaced(stream: Stream, fresh: Stream): void;
}

/** `close()` was not called and the peer is there. */
export const stateOpen = 0;
/** `close()` was called; what is buffered is being flushed. */
export const stateClosing = 1;
/** `abort()` was called. */
export const stateAborted = 2;
/** Ended by the peer or by an error. */
export const stateLost = 3;

const stateMask = 3;

// What is only true or false shares one field with the state: many thousands of streams may be
// open.
/** `onClosed` has come. */
export const flagGone = 4;
/** The user or the read-ahead limit paused reading. */
export const flagReadingPaused = 8;
/** `writeEof()` was called. */
export const flagWriteEnded = 16;
/** The write buffer went above the high-water mark and has not drained yet. */
export const flagOverHighWater = 32;
/** The peer sent FIN. */
export const flagEnded = 64;
/** Somebody was told why the connection was lost. */
export const flagLossTold = 128;
/** The handler of the connection has ended. */
export const flagServed = 256;
/** The server closed or aborted it: errors that its handler meets by that are no news. */
export const flagDismissed = 512;
/** The protocol reads into its own memory. Decided when it is set, not per record. */
export const flagBuffered = 1024;
/** `startTls()` goes on: nothing may be read or written. */
export const flagUpgrading = 2048;
/** A file is being sent: writes are refused. */
export const flagSending = 4096;
/** `toNode()` or `toWeb()` took the stream. Its state is closing: no hot path looks at this. */
export const flagHandedOver = 8192;
/** The handle asks for memory: a `readInto()` waits, or was the last to wait. */
export const flagReceivingInto = 16384;

/**
 * Fields are plain, not private: backends touch them per record. Methods of streams are `private`
 * rather than `#`: a class with private methods adds a field to each of its objects.
 */
export abstract class Stream {
  /** Another one from `startTls` on. */
  handle: StreamHandle;
  /** @internal Those of its server, unless it was given its own. */
  limits: StreamLimits;
  /** @internal */
  owner: StreamOwner | null;
  /** @internal Neighbours in the owner's list. */
  previous: Stream | null;
  /** @internal */
  next: Stream | null;
  /** @internal One of the states, and flags. */
  flags: number;

  constructor(handle: StreamHandle, limits: StreamLimits) {
    this.handle = handle;
    this.limits = limits;
    this.owner = null;
    this.previous = null;
    this.next = null;
    this.flags = stateOpen;
  }

  /** @internal */
  get state(): number {
    return this.flags & stateMask;
  }

  /** @internal */
  set state(state: number) {
    this.flags = (this.flags & ~stateMask) | state;
  }

  /** @internal */
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** @internal */
  mark(flag: number): void {
    this.flags |= flag;
  }

  /** @internal */
  unmark(flag: number): void {
    this.flags &= ~flag;
  }

  /** @internal Flushes and closes. */
  abstract finish(): void;
  abstract abort(reason?: unknown): void;

  get fd(): number | null {
    return this.has(flagGone) ? null : this.handle.fd;
  }

  get tls(): TlsInfo | null {
    return this.handle instanceof TlsStream ? this.handle.info : null;
  }

  get writeBufferBytes(): number {
    return this.has(flagGone) ? 0 : this.handle.bufferedBytes;
  }

  /** Nagle's algorithm off (true, the default of uvio) or on. No effect on UNIX sockets. */
  setNoDelay(enable: boolean = true): void {
    if (!this.has(flagGone)) this.handle.setNoDelay(enable);
  }

  /** @param idleMs milliseconds before the first probe; 0, the default: the system's value. */
  setKeepAlive(enable: boolean, idleMs: number = 0): void {
    if (!this.has(flagGone)) this.handle.setKeepAlive(enable, idleMs);
  }

  /** @internal Why a stream that is not open any more on this side cannot be used. */
  closedError(): Error {
    if (!this.has(flagHandedOver)) return new ClosedResourceError('The connection was closed');
    const message = 'The connection was handed over by toNode() or toWeb(): use that stream';
    return new InvalidStateError(message);
  }

  /** @internal True when `data` must be refused: nobody waits for the buffer to drain. */
  isFull(data: Data | Parts): boolean {
    const { maxBufferedBytes } = this.limits;
    // A string has at most three bytes for each of its code units.
    const room = maxBufferedBytes - this.handle.bufferedBytes;
    return data.length * 3 > room && dataBytes(data) > room;
  }

  /** Large parts need not be joined. */
  protected get gathers(): boolean {
    return this.handle.writeMany !== undefined;
  }

  /** As `StreamHandle.write`. Parts are for those that gather. */
  protected send(data: Data | Parts): number {
    if (data instanceof Parts) {
      return (this.handle.writeMany as NonNullable<StreamHandle['writeMany']>)(data.list);
    }
    return this.handle.write(data);
  }

  /** @internal It is set up and the sink of its handle. */
  tellOpened(): void {
    if (connectionOpened.hasSubscribers) connectionOpened.publish({ connection: this });
  }

  /** @internal */
  tellClosed(error: Error | undefined): void {
    if (connectionClosed.hasSubscribers) connectionClosed.publish({ connection: this, error });
  }

  /** @internal Leaves the server's list. */
  leaveOwner(): void {
    const { owner } = this;
    if (owner === null) return;
    this.owner = null;
    owner.streamGone(this);
  }
}

/** In place of an address that the system cannot tell any more. */
export const unknownAddress: SocketAddress = Object.freeze({
  address: '',
  port: 0,
  family: 'IPv4',
});

/** For a stream that is aborted before anybody had it. */
export const inertSink: StreamSink = {
  context: null,
  onData(): void {},
  onAlloc: (): Uint8Array => new Uint8Array(1),
  onFilled(): void {},
  onEof(): void {},
  onDrain(): void {},
  onClosed(): void {},
};
