/**
 * HTTP/2 over node:http2.
 *
 * In: streams of any backend on which h2 is spoken. Out: exchanges, side by side. Never: a
 * socket of Node's own; a peer that costs more than a bounded amount of memory, or that can begin
 * work faster than it takes answers.
 *
 * What node:http2 and nghttp2 bound by themselves: frames of CONTINUATION, SETTINGS and PING whose
 * answers are not read, empty frames of DATA, invalid frames, memory of a session.
 */
import type * as Http2 from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { ignore } from '../base/quiet.ts';
import type { StreamHandle } from '../io/handles.ts';
import { flagGone } from '../io/stream.ts';
import { checkHead, type Refusal } from './framing.ts';
import { HandleDuplex } from './handle-duplex.ts';
import { enhanceYourCalm, Http2Exchange, type Http2Head, noError } from './http2-exchange.ts';
import { Limit } from './limit.ts';
import { lingerMs, type OpenWire, slowBodyMs, WireConnection, type WireHost } from './wire.ts';

/**
 * Streams that end before their response, at once and for each second: a client that cancels more
 * requests than that is no client. (CVE-2023-44487, CVE-2025-8671)
 */
export const resetBurst = 200;
export const resetsPerSecond = 30;
/** PING and SETTINGS: each is answered. (CVE-2019-9512, CVE-2019-9515) */
export const askBurst = 500;
export const asksPerSecond = 50;

/** Of a GOAWAY that refuses nothing yet. (RFC 9113 6.8) */
const lastStreamId = 2 ** 31 - 1;

/** So much of something may happen at once, and so much more in each second. */
class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #sinceMs = 0;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** False: that was too much. */
  take(nowMs: number): boolean {
    const moreSinceThen = ((nowMs - this.#sinceMs) / 1000) * this.#perSecond;
    this.#left = Math.min(this.#burst, this.#left + moreSinceThen) - 1;
    this.#sinceMs = nowMs;
    return this.#left >= 0;
  }
}

export class Http2Connection extends WireConnection {
  readonly #duplex: HandleDuplex;
  readonly #session: ServerHttp2Session;
  /** Streams that are not closed. */
  readonly #streams: Set<Http2Exchange> = new Set();
  readonly #resets: Allowance = new Allowance(resetBurst, resetsPerSecond);
  readonly #asks: Allowance = new Allowance(askBurst, asksPerSecond);
  /** The shortest limit: nothing is late before the timer has looked at it. */
  readonly #stepMs: number;
  readonly #limit: Limit;
  #fresh = true;
  /** Since when no stream is open. */
  #idleMs: number;
  /** When its socket is destroyed; Infinity: it is not ending. */
  #endMs = Infinity;
  #last = false;
  #warned = false;

  constructor(handle: StreamHandle, host: WireHost, node: typeof Http2) {
    super(handle, host);
    const { limits, loop } = host;
    this.#limit = new Limit(host.loop, () => this.#due());
    this.#duplex = new HandleDuplex(handle, loop, host.context, {
      duplexEnded: ignore,
      duplexClosed: () => this.#closed(),
    });
    handle.sink = this.#duplex;
    // Node has written all it wants to; what the peer still sends is dropped.
    this.#duplex.on('finish', () => this.#duplex.destroy());
    this.#idleMs = loop.time();
    const { headersTimeoutMs, keepAliveMs, requestTimeoutMs, writeTimeoutMs } = limits;
    const steps = [headersTimeoutMs, keepAliveMs, requestTimeoutMs, writeTimeoutMs, slowBodyMs];
    this.#stepMs = Math.max(5, Math.min(...steps));
    this.#session = node.performServerHandshake(this.#duplex, optionsFor(host));
    const session = this.#session;
    session.on('error', ignore);
    session.on('stream', (stream, _headers, _flags, lines?: string[]) => {
      this.#received(stream, lines as string[]);
    });
    session.on('ping', () => this.#asked());
    session.on('remoteSettings', () => this.#asked());
    session.on('goaway', () => this.#peerLeaves());
    this.#limit.armIn(Math.min(this.#stepMs, headersTimeoutMs));
  }

  get busy(): boolean {
    return this.#streams.size > 0;
  }

  override get writeBufferBytes(): number {
    let bytes = this.#duplex.waitingBytes;
    for (const exchange of this.#streams) bytes += exchange.bufferedBytes;
    return bytes;
  }

  get sentBytes(): number {
    return this.#duplex.bytesWritten + this.#duplex.writableLength;
  }

  protected override get unsentBytes(): number {
    return this.#duplex.writableLength + super.unsentBytes;
  }

  /** GOAWAY, and the end of the connection when all streams are done. */
  closeWhenIdle(): void {
    if (this.#last) return;
    this.#last = true;
    this.#session.close();
    if (!this.busy) this.#end();
  }

  /** What goes on is still answered; nothing else comes. */
  #peerLeaves(): void {
    this.#last = true;
    if (!this.busy) this.#end();
  }

  /** A head came. */
  #received(stream: ServerHttp2Stream, lines: readonly string[]): void {
    stream.on('error', ignore);
    this.#fresh = false;
    if (stream.destroyed || stream.closed) {
      // It was reset in the same batch of frames.
      this.cutShort();
      return;
    }
    if (this.host.closing && !this.#last && !this.#warned) {
      // It is answered, and its client asked to go elsewhere with the next.
      this.#warned = true;
      this.#session.goaway(noError, lastStreamId);
    }
    const head = readHead(lines);
    const refusal = 'status' in head ? head : this.#judge(head);
    if (refusal !== null) {
      this.#refuse(stream, refusal);
      return;
    }
    const exchange = new Http2Exchange(stream, this, head as Http2Head);
    this.#streams.add(exchange);
    this.context.run(deliver, { host: this.host, exchange });
  }

  #judge(head: Http2Head): Refusal | null {
    const { method, target, lines } = head;
    return checkHead({ method, target, httpVersion: '1.1', lines }, this.host.limits);
  }

  #refuse(stream: ServerHttp2Stream, { status, reason }: Refusal): void {
    this.host.onRefused(this, status, reason);
    // It costs us an answer, and the peer next to nothing.
    this.cutShort();
    if (stream.destroyed || stream.closed) return;
    const body = `${reason}\n`;
    stream.respond({
      ':status': status,
      'content-type': 'text/plain;charset=UTF-8',
      'content-length': String(body.length),
    });
    stream.end(body);
    stream.close();
  }

  /** @internal A stream that ended without its response. */
  cutShort(): void {
    const nowMs = this.host.loop.time();
    if (!this.#resets.take(nowMs)) this.#calm('Too many requests were cancelled');
  }

  #asked(): void {
    if (!this.#asks.take(this.host.loop.time())) this.#calm('Too many PING or SETTINGS');
  }

  #calm(reason: string): void {
    if (this.#session.destroyed) return;
    this.host.onRefused(this, 0, reason);
    // A number is a code; the types know errors only.
    this.#session.destroy(enhanceYourCalm as never);
    this.#end();
  }

  /** @internal */
  streamClosed(exchange: Http2Exchange): void {
    this.#streams.delete(exchange);
    if (this.busy) return;
    this.#idleMs = this.host.loop.time();
    if (this.#last) this.#end();
  }

  // ---- time ----

  #due(): void {
    const { limits, loop } = this.host;
    const now = loop.time();
    let nextMs = this.#endMs;
    if (now >= nextMs) {
      this.#duplex.destroy();
      return;
    }
    for (const exchange of [...this.#streams]) {
      exchange.check(now);
      nextMs = Math.min(nextMs, exchange.deadlineMs);
    }
    if (!this.busy && this.#endMs === Infinity) {
      const idleMs = this.#fresh ? limits.headersTimeoutMs : limits.keepAliveMs;
      if (now >= this.#idleMs + idleMs) {
        this.host.onRefused(this, 0, this.#fresh ? 'No request came' : 'Idle');
        this.#last = true;
        // Not `close`: it would wait for a head that does not end.
        this.#session.destroy();
        this.#end();
        return;
      }
      nextMs = Math.min(nextMs, this.#idleMs + idleMs);
    }
    this.#limit.armIn(Math.min(Math.max(nextMs - now, 1), this.#stepMs));
  }

  /** It is over; who does not take that is cut off. */
  #end(): void {
    if (this.#endMs !== Infinity || this.has(flagGone)) return;
    this.#endMs = this.host.loop.time() + lingerMs;
    if (!this.busy) this.#limit.armIn(lingerMs);
  }

  #closed(): void {
    this.#limit.stop();
    this.mark(flagGone);
    for (const exchange of [...this.#streams]) exchange.lost(undefined);
    this.#streams.clear();
    this.leaveOwner();
  }
}

function optionsFor(host: WireHost): object {
  const { maxConcurrentStreams, maxHeaderBytes, maxHeaders } = host.limits;
  return {
    // What is a little too much is answered with 431; above that Node resets the stream.
    maxHeaderListPairs: 2 * maxHeaders + 8,
    settings: {
      enablePush: false,
      maxConcurrentStreams,
      maxHeaderListSize: Math.min(2 ** 32 - 1, 2 * maxHeaderBytes + 64 * maxHeaders),
    },
  };
}

/** Splits the pseudo-headers off. nghttp2 has checked that there is one of each that is needed. */
function readHead(all: readonly string[]): Http2Head | Refusal {
  let method = '';
  let target = '';
  let authority: string | null = null;
  let host: string | null = null;
  const lines: string[] = [];
  for (let i = 0; i < all.length; i += 2) {
    const name = all[i] as string;
    const value = all[i + 1] as string;
    if (name === ':method') method = value;
    else if (name === ':path') target = value;
    else if (name === ':authority') authority = value;
    else if (name.charCodeAt(0) !== 58) {
      if (name === 'host') host = value;
      lines.push(name, value);
    }
  }
  if (method === 'CONNECT') return { status: 501, reason: 'CONNECT is not supported' };
  if (authority !== null) {
    if (host === null) lines.unshift('host', authority);
    else if (host !== authority) return { status: 400, reason: 'Host is not :authority' };
  }
  return { method, target, lines };
}

function deliver({ host, exchange }: { host: WireHost; exchange: Http2Exchange }): void {
  host.onRequest(exchange);
}

/** Connections over node:http2, which is loaded with the first. */
export function http2Wire(): OpenWire {
  return (stream, host) => {
    return new Http2Connection(stream, host, process.getBuiltinModule('node:http2'));
  };
}
