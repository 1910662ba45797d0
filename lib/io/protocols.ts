/**
 * The layer below Connection: transports and protocols, callbacks without promises.
 *
 * In: types only. Out: the names of asyncio's transports and protocols. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { Data } from '../base/errors.ts';
import type { SocketAddress } from '../loop/backend.ts';
import type { DatagramSettings, TlsInfo } from './net-types.ts';

/** What all transports have. Protocols are plain objects. (asyncio.BaseTransport) */
export interface BaseTransport {
  /** Flushes, then closes; `connectionLost` follows. */
  close(): void;
  /** Closes at once; buffered data is lost. */
  abort(): void;
  readonly closing: boolean;
  readonly fd: number | null;
  readonly localAddress: SocketAddress | null;
  readonly remoteAddress: SocketAddress | null;
  readonly tls: TlsInfo | null;
  /** Allowed at any time, also inside a protocol callback. */
  protocol: BaseProtocol;
}

export interface ReadTransport extends BaseTransport {
  readonly reading: boolean;
  /** No `dataReceived` comes after it returns. */
  pauseReading(): void;
  resumeReading(): void;
}

export interface WriteTransport extends BaseTransport {
  /**
   * Never waits. What the kernel does not take at once is copied: the memory may be used again when
   * it returns. True while the buffer is at or below the high-water mark. After `close()` the data
   * is dropped.
   * @throws ClosedResourceError after `writeEof()`; TypeError for what is not data.
   */
  write(data: Data): boolean;
  /** One write for all parts. */
  writeLines(parts: Iterable<Data>): boolean;
  /** Half close after the flush. */
  writeEof(): void;
  readonly canWriteEof: boolean;
  readonly writeBufferBytes: number;
  /** Default 16 KiB and 64 KiB. A missing one follows from the other: low = high / 4. */
  setWriteBufferLimits(limits: { lowBytes?: number; highBytes?: number }): void;
}

/** (asyncio.Transport) */
export interface Transport extends ReadTransport, WriteTransport {}

/** (asyncio.BaseProtocol) */
export interface BaseProtocol<T extends BaseTransport = BaseTransport> {
  /** First call, once. */
  connectionMade?(transport: T): void;
  /** Last call, once; undefined after a clean end. */
  connectionLost?(error?: Error): void;
  /** The write buffer went above the high-water mark. */
  pauseWriting?(): void;
  /** It fell to the low-water mark. */
  resumeWriting?(): void;
}

/** (asyncio.Protocol) */
export interface Protocol extends BaseProtocol<Transport> {
  /**
   * `data` is the receiver's own and stays valid for ever: a view of a slab that is never written
   * again. A small view keeps up to 64 KiB alive; copy it to keep it long.
   */
  dataReceived(data: Buffer): void;
  /** Return true to keep the write side open; else the transport closes itself. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most protocols return nothing.
  eofReceived?(): boolean | void;
}

/** Reads into the receiver's memory: no allocation per read. (asyncio.BufferedProtocol) */
export interface BufferedProtocol extends BaseProtocol<Transport> {
  /** At least one byte long; not touched by uvio after `bufferUpdated`. */
  getBuffer(sizeHintBytes: number): Uint8Array;
  bufferUpdated(bytes: number): void;
  /** Return true to keep the write side open; else the transport closes itself. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most protocols return nothing.
  eofReceived?(): boolean | void;
}

/** What stream transports talk to. */
export type StreamProtocol = Protocol | BufferedProtocol;

/** (asyncio.DatagramTransport) */
export interface DatagramTransport extends BaseTransport, DatagramSettings {
  /**
   * Never waits. Without an address: to the connected peer. A name is looked up first. What fails
   * later comes by `errorReceived`. After `close()` the data is dropped.
   * @throws Error as `UdpSocket.send` rejects with: EMSGSIZE, EDESTADDRREQ, EISCONN …
   */
  sendTo(data: Data, address?: { host: string; port: number }): void;
  /** Bytes of datagrams that the kernel has not taken. */
  readonly writeBufferBytes: number;
  /** When `pauseWriting` and `resumeWriting` are called. Default 16 KiB and 64 KiB. */
  setWriteBufferLimits(limits: { lowBytes?: number; highBytes?: number }): void;
}

/** (asyncio.DatagramProtocol) */
export interface DatagramProtocol extends BaseProtocol<DatagramTransport> {
  /** `data` is the receiver's own; `address` is frozen. */
  datagramReceived(data: Buffer, address: SocketAddress): void;
  /** A send failed, or the connected peer does not listen. The socket goes on. */
  errorReceived?(error: Error): void;
}
