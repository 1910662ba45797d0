/**
 * The memory that C++ and JavaScript both see; `native/core/layout.h` is its other half.
 *
 * In: the sizes that the addon tells. Out: typed views. Never: a view that user code could get.
 */
import { Buffer } from 'node:buffer';

/** Control words. */
export const CTL_OUT_COUNT = 0;
export const CTL_OUT_POS = 1;
export const CTL_FLUSH_EPOCH = 2;
export const CTL_NEED_CHUNK = 3;
export const CTL_SMALL_POS = 4;
export const CTL_BULK_POS = 5;
export const CTL_ADDR_PORT = 9;
export const CTL_ADDR_FAMILY = 10;
export const CTL_TIMER_REF = 11;
const CTL_WORDS = 64;

/** Kinds of in records. */
export const REC_DATA = 0;
export const REC_BULK = 1;
export const REC_READABLE = 2;
export const REC_ACCEPT = 3;
export const REC_CONNECT = 4;
export const REC_EOF = 5;
export const REC_DRAIN = 6;
export const REC_CLOSED = 7;
export const REC_ACCEPT_ERROR = 8;
export const REC_REPLAY = 9;
export const REC_TIMER = 10;
export const REC_DATAGRAM = 11;
export const REC_DATAGRAM_BULK = 12;
export const REC_ERROR = 13;

/** Bytes of the address before the payload of each datagram. */
export const HEAD_BYTES = 24;
export const REC_WRITABLE = 14;
export const REC_WATCH = 20;

/** Names of the system calls in a closed record. */
export const SYSCALLS = ['close', 'read', 'write', 'connect', 'send', 'recvmsg'] as const;

/** Bits of the listen flags. */
export const LISTEN_REUSE_PORT = 1;
export const LISTEN_IPV6_ONLY = 2;
export const LISTEN_NO_DELAY = 4;
export const LISTEN_PAUSED = 8;
export const LISTEN_DUPLICATE = 16;

/** Options of `setUdp`. */
export const UDP_OPTIONS = [
  'broadcast',
  'ttl',
  'multicastTtl',
  'multicastLoopback',
  'multicastInterface',
  'addMembership',
  'dropMembership',
] as const;

/** Integers of the addon: a value >= 0 or a negative errno. */
export interface Binding {
  readonly layout: readonly number[];
  setup(shared: Uint8Array, dispatch: (records: number) => void, clockOffsetMs: number): number;
  setChunk(bulk: 0 | 1, chunk: Uint8Array): number;
  listenTcp(host: string, port: number, backlog: number, flags: number): number;
  listenUnix(path: string, backlog: number, flags: number): number;
  connectTcp(
    host: string,
    port: number,
    localHost: string,
    localPort: number,
    noDelay: number,
  ): number;
  connectUnix(path: string): number;
  openUdp(host: string, port: number, reusePort: number): number;
  connectUdp(id: number, host: string, port: number): number;
  setUdp(id: number, option: number, value: number, group: string, on: string): number;
  /** Writes the address part of a datagram's head. */
  parseIp(text: string, head: Uint8Array): number;
  ipText(head: Uint8Array): string;
  write(id: number, data: Uint8Array): number;
  writeMany(id: number, parts: readonly Uint8Array[]): number;
  receive(id: number, into: Uint8Array): number;
  flush(): void;
  shutdown(id: number): number;
  close(id: number): number;
  abort(id: number): number;
  setReading(id: number, reading: number): number;
  setInto(id: number, into: number): number;
  notifyDrain(id: number, lowBytes: number): number;
  replay(id: number): number;
  setNoDelay(id: number, enable: number): number;
  setLeastRead(id: number, bytes: number): number;
  setKeepAlive(id: number, enable: number, idleMs: number): number;
  reference(id: number, ref: number): number;
  descriptor(id: number): number;
  /** @param which 0: local, 1: the peer's, 2: where the last datagram that failed was going */
  address(id: number, which: number): string | number;
  timerRef(ref: number): void;
  setSpin(micros: number): void;
  http1Bind(words: Int32Array): number;
  http1Parse(bytes: Uint8Array, from: number, to: number): number;
  websocketMask(bytes: Uint8Array, key: number, phase: number): number;
  postgresBind(marks: Int32Array): number;
  postgresTexts(bytes: Uint8Array, from: number, to: number, kinds: Uint8Array): string | number;
  postgresWide(): string | number;
  postgresJson(): string | number;
  postgresCopy(bytes: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number;
  now(): number;
  uvVersion(): string;
  adoptSocket(fd: number, duplicate: number): number;
  adoptPipe(fd: number, writes: number): number;
  listenFd(fd: number, flags: number): number;
  sendFile(id: number, fd: number, offset: number, count: number): number;
  notifyWritable(id: number): number;
  watch(fd: number, interest: number): number;
}

export interface Shared {
  readonly bytes: Uint8Array;
  readonly ctl: Int32Array;
  /** [0] is the deadline that the native timer is to be armed for, in loop milliseconds. */
  readonly deadline: Float64Array;
  readonly inRecords: Int32Array;
  readonly outRecords: Int32Array;
  /** Queued bytes of each slot. */
  readonly queued: Int32Array;
  readonly slab: Buffer;
  readonly maxOutRecords: number;
  readonly slotMask: number;
  /** A chunk with less room than this cannot be read into. */
  readonly minSmallBytes: number;
  readonly minBulkBytes: number;
}

/** An ArrayBuffer that never leaves this room, so nobody can detach it. */
export function mapShared(layout: readonly number[]): Shared {
  const [total, deadline, input, output, queued, slab, slabBytes, maxIn, maxOut, slotBits] =
    layout as readonly [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
  const memory = new ArrayBuffer(total);
  return {
    bytes: new Uint8Array(memory),
    ctl: new Int32Array(memory, 0, CTL_WORDS),
    deadline: new Float64Array(memory, deadline, 1),
    inRecords: new Int32Array(memory, input, maxIn * 4),
    outRecords: new Int32Array(memory, output, maxOut * 3),
    queued: new Int32Array(memory, queued, 1 << slotBits),
    slab: Buffer.from(memory, slab, slabBytes),
    maxOutRecords: maxOut,
    slotMask: (1 << slotBits) - 1,
    minSmallBytes: layout[10] as number,
    minBulkBytes: layout[11] as number,
  };
}
