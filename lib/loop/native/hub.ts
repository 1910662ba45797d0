/**
 * One for each thread: the addon's shared memory, the table of endpoints, and the one function
 * through which C++ enters JavaScript.
 *
 * In: a batch of records. Out: calls of sinks and hosts, in order; a sink that throws costs the
 * others nothing. Never: promises, tasks; a record of a closed endpoint reaches nobody.
 */
import { Buffer } from 'node:buffer';
import { systemError } from '../../base/errors.ts';
import type { BackendHost, ByteParsers, CallbackContext, SocketAddress } from '../backend.ts';
import type { NativeBackend } from './backend.ts';
import { loadBinding } from './binding.ts';
import { NativeDatagram } from './datagram.ts';
import type { Binding, Shared } from './layout.ts';
import {
  CTL_ADDR_FAMILY,
  CTL_ADDR_PORT,
  CTL_BULK_POS,
  CTL_NEED_CHUNK,
  CTL_OUT_COUNT,
  CTL_OUT_POS,
  CTL_SMALL_POS,
  CTL_TIMER_REF,
  HEAD_BYTES,
  mapShared,
  REC_ACCEPT,
  REC_ACCEPT_ERROR,
  REC_BULK,
  REC_CLOSED,
  REC_CONNECT,
  REC_DATA,
  REC_DATAGRAM,
  REC_DATAGRAM_BULK,
  REC_DRAIN,
  REC_EOF,
  REC_ERROR,
  REC_READABLE,
  REC_REPLAY,
  REC_TIMER,
  REC_WATCH,
  REC_WRITABLE,
  SYSCALLS,
} from './layout.ts';
import type { NativeConnect, NativeListener } from './listener.ts';
import { PeerTable } from './peers.ts';
import { NativeStream } from './stream.ts';

const SMALL_CHUNK_BYTES = 64 * 1024;
const BULK_CHUNK_BYTES = 512 * 1024;
/** Less than this in a bulk chunk is copied: it must not keep the chunk alive. */
const COPY_BYTES = 4096;

export type Endpoint = NativeStream | NativeListener | NativeConnect | NativeDatagram;

/** A watched descriptor: who is told, and which of the registrations of its number this is. */
export interface Watched {
  readonly backend: NativeBackend;
  readonly generation: number;
  readonly onReady: (interest: number) => void;
}

/** Node's own way without the checks of `write`: half the price. */
interface Latin1Writer {
  latin1Write(text: string, at: number, bytes: number): number;
}

let theHub: NativeHub | undefined;

/** The thread's hub; throws when the addon is not there (callers ask `loadBinding()` first). */
export function getHub(): NativeHub {
  if (theHub === undefined) {
    const { binding, info } = loadBinding();
    if (binding === null) throw new Error(info.reason);
    theHub = new NativeHub(binding);
  }
  return theHub;
}

export class NativeHub {
  readonly binding: Binding;
  readonly parsers: ByteParsers;
  readonly ctl: Int32Array;
  readonly queued: Int32Array;
  readonly slotMask: number;
  readonly endpoints: (Endpoint | undefined)[] = [];
  readonly backends: Set<NativeBackend> = new Set();
  readonly watches: Map<number, Watched> = new Map();
  readonly #shared: Shared;
  readonly #out: Int32Array;
  readonly #slab: Buffer & Latin1Writer;
  readonly #slabWords: Int32Array;
  readonly #peers: PeerTable;
  #small: Buffer = Buffer.alloc(0);
  #bulk: Buffer = Buffer.alloc(0);
  /** The same memory, for the addresses in it. */
  #smallWords: Int32Array = new Int32Array(0);
  #bulkWords: Int32Array = new Int32Array(0);
  /** The batch at work. */
  #count = 0;
  #next = 0;
  readonly #runIn: (context: CallbackContext) => void = (context) => this.#runGroup(context);

  constructor(binding: Binding) {
    const shared = mapShared(binding.layout);
    this.binding = binding;
    this.parsers = bindParsers(binding);
    this.#shared = shared;
    this.ctl = shared.ctl;
    this.queued = shared.queued;
    this.slotMask = shared.slotMask;
    this.#out = shared.outRecords;
    this.#slab = shared.slab as Buffer & Latin1Writer;
    this.#slabWords = new Int32Array(
      shared.slab.buffer,
      shared.slab.byteOffset,
      shared.slab.length / 4,
    );
    this.#peers = new PeerTable(binding);
    const code = binding.setup(shared.bytes, (n) => this.#dispatch(n), clockOffset(binding));
    if (code !== 0) throw systemError(code, 'setup');
    this.#renew(3);
  }

  // --- Writing: records and bytes in the out slab, sent with the next flush.

  /** Puts at most `DIRECT_BYTES`; returns the number of bytes. */
  put(id: number, data: Uint8Array): number {
    const length = data.length;
    const at = this.#reserve(length);
    this.#slab.set(data, at);
    this.#record(id, at, length);
    return length;
  }

  /** As `put` for UTF-8; -1 when the slab is too short for it. */
  putText(id: number, text: string): number {
    // At most 3 bytes for a UTF-16 unit.
    if (text.length * 3 > this.#slab.length) return -1;
    const at = this.#reserve(text.length * 3);
    const length = this.#slab.write(text, at, 'utf8');
    this.#record(id, at, length);
    return length;
  }

  /** As `putText` for characters below 256, each of which is one byte. */
  putLatin1(id: number, text: string): number {
    const { length } = text;
    if (length > this.#slab.length) return -1;
    const at = this.#reserve(length);
    this.#slab.latin1Write(text, at, length);
    this.#record(id, at, length);
    return length;
  }

  /**
   * Puts a datagram, which is a record of its own: head and bytes. Negative: the errno of an
   * address that is none.
   * @param host null: the connected peer
   */
  putDatagram(id: number, data: string | Uint8Array, host: string | null, port: number): number {
    const text = typeof data === 'string';
    const most = text ? data.length * 3 : data.length;
    // The head begins at a whole word.
    const at = (this.#reserve(most + HEAD_BYTES + 3) + 3) & ~3;
    const code = this.#peers.write(host, port, this.#slabWords, at >> 2);
    if (code !== 0) return code;
    const body = at + HEAD_BYTES;
    const length = text ? this.#slab.write(data, body, 'utf8') : data.length;
    if (!text) this.#slab.set(data, body);
    const { ctl } = this;
    const out = this.#out;
    const record = (ctl[CTL_OUT_COUNT] as number) * 3;
    out[record] = id;
    out[record + 1] = at;
    out[record + 2] = HEAD_BYTES + length;
    ctl[CTL_OUT_COUNT] = (ctl[CTL_OUT_COUNT] as number) + 1;
    ctl[CTL_OUT_POS] = body + length;
    return 0;
  }

  #reserve(bytes: number): number {
    const { ctl } = this;
    if (
      (ctl[CTL_OUT_POS] as number) + bytes > this.#slab.length ||
      (ctl[CTL_OUT_COUNT] as number) === this.#shared.maxOutRecords
    ) {
      this.binding.flush();
    }
    return ctl[CTL_OUT_POS] as number;
  }

  #record(id: number, at: number, length: number): void {
    const { ctl } = this;
    const out = this.#out;
    const count = ctl[CTL_OUT_COUNT] as number;
    const last = count * 3 - 3;
    ctl[CTL_OUT_POS] = at + length;
    if (
      count > 0 &&
      out[last] === id &&
      (out[last + 1] as number) + (out[last + 2] as number) === at
    ) {
      out[last + 2] = (out[last + 2] as number) + length;
      return;
    }
    out[last + 3] = id;
    out[last + 4] = at;
    out[last + 5] = length;
    ctl[CTL_OUT_COUNT] = count + 1;
  }

  // --- Timers: the nearest deadline of all loops of this thread.

  syncTimers(): void {
    let nearest = Number.POSITIVE_INFINITY;
    let ref = 0;
    for (const backend of this.backends) {
      if (backend.deadlineMs < nearest) nearest = backend.deadlineMs;
      if (backend.timerRef) ref = 1;
    }
    this.#shared.deadline[0] = nearest;
    if (this.ctl[CTL_TIMER_REF] !== ref) this.binding.timerRef(ref);
  }

  // --- Endpoints

  address(id: number, which: 0 | 1 | 2): SocketAddress | null {
    const text = this.binding.address(id, which);
    if (typeof text === 'number') return null;
    const family = this.ctl[CTL_ADDR_FAMILY];
    if (family === 0) return null;
    if (family === 1) return { address: text, port: 0, family: 'unix' };
    const port = this.ctl[CTL_ADDR_PORT] as number;
    return { address: text, port, family: family === 6 ? 'IPv6' : 'IPv4' };
  }

  set(id: number, endpoint: Endpoint): void {
    this.endpoints[id & this.slotMask] = endpoint;
  }

  find(id: number): Endpoint | undefined {
    const endpoint = this.endpoints[id & this.slotMask];
    return endpoint !== undefined && endpoint.id === id ? endpoint : undefined;
  }

  // --- The way in

  #dispatch(count: number): void {
    this.#count = count;
    this.#next = 0;
    for (const backend of this.backends) backend.host.looks++;
    while (this.#next < count) {
      // Records that follow one another in the same async context share one restore of it.
      const context = this.#contextOf(this.#next);
      if (context === null) this.#runGroup(null);
      else context.run(this.#runIn, context);
    }
    const need = this.ctl[CTL_NEED_CHUNK] as number;
    if (need !== 0) this.#renew(need);
  }

  #contextOf(index: number): CallbackContext | null {
    return contextOf(this.find(this.#shared.inRecords[index * 4] as number));
  }

  #runGroup(context: CallbackContext | null): void {
    const records = this.#shared.inRecords;
    const { endpoints, slotMask } = this;
    let host: BackendHost | null = null;
    let before: unknown;
    while (this.#next < this.#count) {
      const at = this.#next * 4;
      const id = records[at] as number;
      const kind = records[at + 1] as number;
      const endpoint = endpoints[id & slotMask];
      if (kind === REC_TIMER) {
        this.#next += 1;
        this.#timers();
        continue;
      }
      if (kind === REC_WATCH) {
        this.#next += 1;
        this.#watched(id, records[at + 2] as number, records[at + 3] as number);
        continue;
      }
      if (endpoint === undefined || endpoint.id !== id) {
        this.#next += 1;
        if (kind === REC_ACCEPT) this.binding.abort(records[at + 2] as number);
        continue;
      }
      if (contextOf(endpoint) !== context) break;
      this.#next += 1;
      if (endpoint.backend.host !== host) {
        host?.leave(before);
        host = endpoint.backend.host;
        before = host.enter();
      }
      try {
        this.#handle(endpoint, kind, records[at + 2] as number, records[at + 3] as number);
      } catch (error) {
        host.onError('Exception in an I/O callback', error, endpoint.sink ?? undefined);
      }
    }
    host?.leave(before);
  }

  #handle(endpoint: Endpoint, kind: number, a: number, b: number): void {
    if (kind === REC_DATA) {
      (endpoint as NativeStream).deliverSlice(this.#small, a, a + b);
    } else if (kind === REC_BULK) {
      (endpoint as NativeStream).deliver(this.#bulkChunk(a, b));
    } else if (kind === REC_READABLE) {
      (endpoint as NativeStream).readable();
    } else if (kind === REC_DATAGRAM || kind === REC_DATAGRAM_BULK) {
      this.#datagram(
        endpoint as NativeDatagram,
        kind === REC_DATAGRAM ? this.#small : this.#bulk,
        a,
        b,
      );
    } else {
      this.#event(endpoint, kind, a, b);
    }
  }

  #bulkChunk(at: number, length: number): Buffer {
    const chunk = this.#bulk.subarray(at, at + length);
    return length <= COPY_BYTES ? Buffer.from(chunk) : chunk;
  }

  #datagram(socket: NativeDatagram, chunk: Buffer, at: number, length: number): void {
    const words = chunk === this.#small ? this.#smallWords : this.#bulkWords;
    const from = this.#peers.read(words, at >> 2);
    const begin = at + HEAD_BYTES;
    socket.deliver(chunk.subarray(begin, begin + length), from);
  }

  #event(endpoint: Endpoint, kind: number, a: number, b: number): void {
    switch (kind) {
      case REC_ACCEPT:
        (endpoint as NativeListener).accepted(a);
        break;
      case REC_ACCEPT_ERROR:
        (endpoint as NativeListener).acceptFailed(a);
        break;
      case REC_CONNECT:
        (endpoint as NativeConnect).settled(a);
        break;
      case REC_REPLAY:
        (endpoint as NativeStream | NativeListener).replay();
        break;
      case REC_EOF:
        (endpoint as NativeStream).ended();
        break;
      case REC_DRAIN:
        (endpoint as NativeStream | NativeDatagram).drained();
        break;
      case REC_ERROR:
        (endpoint as NativeDatagram).failed(-a, SYSCALLS[b] ?? 'recvmsg');
        break;
      case REC_WRITABLE:
        (endpoint as NativeStream).writable();
        break;
      case REC_CLOSED:
        this.endpoints[endpoint.id & this.slotMask] = undefined;
        endpoint.backend.removed();
        endpoint.lost(a === 0 ? undefined : systemError(-a, SYSCALLS[b] ?? 'read'));
        break;
    }
  }

  /** One that was forgotten, or registered anew, in this batch hears nothing. */
  #watched(fd: number, generation: number, interest: number): void {
    const watched = this.watches.get(fd);
    if (watched === undefined || watched.generation !== generation) return;
    const { host } = watched.backend;
    const before = host.enter();
    try {
      watched.onReady(interest);
    } catch (error) {
      host.onError('Exception in an I/O callback', error, undefined);
    } finally {
      host.leave(before);
    }
  }

  #timers(): void {
    for (const backend of [...this.backends]) {
      if (backend.deadlineMs !== Number.POSITIVE_INFINITY) backend.host.onTimers();
    }
  }

  // --- Chunks: memory that reads go to. Never written again once JavaScript has seen it.

  #renew(need: number): void {
    const { ctl, binding } = this;
    if ((need & 1) !== 0) {
      this.#small = Buffer.allocUnsafeSlow(SMALL_CHUNK_BYTES);
      this.#smallWords = new Int32Array(this.#small.buffer);
      ctl[CTL_SMALL_POS] = 0;
      binding.setChunk(0, this.#small);
    }
    if ((need & 2) !== 0) {
      this.#bulk = Buffer.allocUnsafeSlow(BULK_CHUNK_BYTES);
      this.#bulkWords = new Int32Array(this.#bulk.buffer);
      ctl[CTL_BULK_POS] = 0;
      binding.setChunk(1, this.#bulk);
    }
    ctl[CTL_NEED_CHUNK] = 0;
  }
}

function contextOf(endpoint: Endpoint | undefined): CallbackContext | null {
  const carries = endpoint instanceof NativeStream || endpoint instanceof NativeDatagram;
  return carries && endpoint.sink !== null ? endpoint.sink.context : null;
}

/** 16 KiB for records: what fills more is parsed in several calls. */
function bindParsers(binding: Binding): ByteParsers {
  const http1 = new Int32Array(32 + 4096);
  const code = binding.http1Bind(http1);
  if (code !== 0) throw systemError(code, 'setup');
  let postgres: Int32Array | null = null;
  // Few programs have a PostgreSQL: memory for its text only when it is asked for.
  const bound = (): Int32Array => {
    if (postgres !== null) return postgres;
    postgres = new Int32Array(3 + 8192);
    const code = binding.postgresBind(postgres);
    if (code !== 0) throw systemError(code, 'setup');
    return postgres;
  };
  return {
    http1,
    get postgres() {
      return bound();
    },
    postgresTexts: (bytes, from, to, kinds) =>
      binding.postgresTexts(bytes, from, to, kinds) as string,
    postgresWide: () => binding.postgresWide() as string,
    postgresJson: () => binding.postgresJson() as string,
    postgresCopy: (bytes, from, to, target, at) => {
      bound();
      binding.postgresCopy(bytes, from, to, target, at);
    },
    parseHttp1: (bytes, from, to) => binding.http1Parse(bytes, from, to),
    maskWebSocket: (bytes, key, phase) => binding.websocketMask(bytes, key, phase),
  };
}

/**
 * What has to be added to `performance.now()` to get the addon's clock. The smallest of a few
 * readings, each too large by the time between its two calls: so timers are never early.
 */
function clockOffset(binding: Binding): number {
  let offset = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 16; i += 1) {
    const before = performance.now();
    offset = Math.min(offset, binding.now() - before);
  }
  return offset;
}
