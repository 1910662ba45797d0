/**
 * What users have of a WebSocket, on either side.
 *
 * In: nothing. Out: types. Never: code.
 */
import type { Buffer } from 'node:buffer';
import type { Data, WaitOptions } from '../../base/errors.ts';
import type { SocketAddress } from '../../io/net-types.ts';

/** Iterating gives text as string and binary as Buffer, until the close. */
export interface WebSocketConnection extends AsyncDisposable, AsyncIterable<string | Buffer> {
  /** False once either side has begun to close, or the connection is gone. */
  readonly open: boolean;
  /** The subprotocol; '' for none. */
  readonly protocol: string;
  readonly remoteAddress: SocketAddress;
  /**
   * From the peer; 1005 without one, 1006 when the connection broke. Null until its close frame has
   * come, or the connection is gone.
   */
  readonly closeCode: number | null;
  readonly closeReason: string;
  /** Bytes that wait to be written. */
  readonly bufferedBytes: number;
  /**
   * A string is text, bytes are binary. Taken at once and in order; resolves as `ByteWriter.write`
   * does. Rejects with ERR_UVIO_BUFFER_FULL above `maxBufferedBytes`, then nothing was taken.
   */
  send(data: Data, options?: WaitOptions): Promise<void>;
  sendJson(value: unknown, options?: WaitOptions): Promise<void>;
  /**
   * The next message. ClosedResourceError after the close, BrokenResourceError when the connection
   * broke, TimeoutError after `timeoutMs`. Cancelled, no message is lost.
   */
  receive(options?: WaitOptions & { timeoutMs?: number }): Promise<string | Buffer>;
  /** TypeError for a binary message, which stays the next one. */
  receiveText(options?: WaitOptions & { timeoutMs?: number }): Promise<string>;
  /** TypeError for a text message, which stays the next one. */
  receiveBytes(options?: WaitOptions & { timeoutMs?: number }): Promise<Buffer>;
  receiveJson<T = unknown>(options?: WaitOptions & { timeoutMs?: number }): Promise<T>;
  /** Waits for the pong. @param data at most 125 bytes */
  ping(data?: Uint8Array, options?: WaitOptions): Promise<void>;
  /**
   * Default 1000; waits for the peer's close frame and the end, at most `closeTimeoutMs`.
   * Cancelled, the connection is broken off.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** Gets what is published under the topic from now on. */
  subscribe(topic: string): void;
  unsubscribe(topic: string): void;
  /** To all subscribers of the topic on this server but this one; gives their number. */
  publish(topic: string, data: Data): number;
}
