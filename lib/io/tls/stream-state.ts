/**
 * Parts of a TLS stream: what it remembers in bits, who waits for its handshake, and the calls of
 * its sink, which are shared functions so that none is made per call.
 *
 * In: a TLS stream. Out: calls of its sink. Never: a decision.
 */
import { systemErrorByCode } from '../../base/errors.ts';
import type { TlsStream } from './stream.ts';

/** Who waits for the handshake. */
export interface HandshakeOwner {
  /** It sets `stream.sink`. @internal */
  secured(stream: TlsStream): void;
  /** At most once, instead of `secured`; not after `abort()`. @internal */
  failed(stream: TlsStream, error: Error): void;
  /** Without ever having been secure, it is closed. Last. @internal */
  gone(stream: TlsStream): void;
}

export const SECURE = 1;
export const PAUSED = 2;
export const INTO = 4;
/** `close()` or `abort()` was called, or it failed: the sink hears `onClosed` only. */
export const CLOSING = 8;
export const GONE = 16;
/** The engine was told to send close_notify. */
export const SHUTDOWN = 32;
/** It has. */
export const FINISHED = 64;
/** The carrying stream has taken all of it. */
export const FLUSHED = 128;
/** The peer's close_notify came, or the ciphertext ended. */
export const ENDED = 256;
/** The sink has not heard of that yet. */
export const END_HELD = 512;
export const TRUNCATED = 1024;
/** `runJob` is going to deliver what is held. */
export const REPLAY = 2048;

/** After `close()` that much of what the peer still sends is read, and dropped. (asyncio) */
export const mostDroppedBytes: number = 256 * 1024;

/** With Node's text and code. */
export function disconnectedError(): Error {
  const error = systemErrorByCode('ECONNRESET', 'read');
  error.message = 'The peer disconnected before a secure TLS connection was established';
  return error;
}

export function tellData(stream: TlsStream): void {
  stream.sink?.onData(stream.takeChunk());
}

export function fill(stream: TlsStream): void {
  if (stream.sink !== null) stream.fill(stream.sink);
}

export function tellEof(stream: TlsStream): void {
  stream.sink?.onEof();
}

export function tellDrain(stream: TlsStream): void {
  stream.sink?.onDrain();
}

export function tellClosed(stream: TlsStream): void {
  stream.sink?.onClosed(stream.error);
}
