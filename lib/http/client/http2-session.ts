/**
 * HTTP/2 of a client: one connection that carries many exchanges.
 *
 * In: a connection on which TLS agreed on h2. Out: a stream for each exchange. Never: a stream on a
 * connection that its server is leaving, or that answers nobody any more.
 */
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import { ignore } from '../../base/quiet.ts';
import type { Transport } from '../../io/protocols.ts';
import type { StreamTransport } from '../../io/transport.ts';
import { Waiter } from '../../task/waiter.ts';
import { ClientConnectionError } from '../client-errors.ts';
import { HandleDuplex } from '../handle-duplex.ts';
import type { ClientConnection } from './connection.ts';
import { Http2Stream } from './http2-stream.ts';
import { maxHeadBytes, maxHeaders } from './response-parser.ts';

/** Of one response that is not read: so much may come. */
const streamWindowBytes = 262_144;
const refusedStream = 7;
/** A write that has ended is told of within one turn. */
const pausedTurns = 8;
/** Of all responses together. */
const sessionWindowBytes = 4_194_304;

export class Http2Session {
  readonly connection: ClientConnection;
  readonly #transport: StreamTransport;
  readonly #duplex: HandleDuplex;
  readonly #session: ClientHttp2Session;
  readonly #streams: Set<Http2Stream> = new Set();
  /** The server's first SETTINGS have come. */
  #settled = false;
  #ready: Waiter<void> | null = null;
  #retired = false;

  /** Takes the stream of the transport over. */
  constructor(connection: ClientConnection, transport: Transport) {
    this.connection = connection;
    this.#transport = transport as StreamTransport;
    const { context, handle, loop } = this.#transport;
    this.#duplex = new HandleDuplex(handle, loop, context, {
      duplexEnded: ignore,
      duplexClosed: (error) => this.#closed(error),
    });
    handle.sink = this.#duplex;
    // Node has given it up, or the server has and Node may not see that: what came goes on first.
    this.#duplex.on('finish', () => this.end());
    this.#duplex.on('end', () => setImmediate(() => this.end()));
    this.#duplex.on('pause', () => this.#watchPause(0, this.#duplex.bytesWritten));
    const { connect } = process.getBuiltinModule('node:http2');
    const session = connect(`https://${connection.host}:${connection.port}`, {
      createConnection: () => this.#duplex,
      maxHeaderListPairs: maxHeaders,
      settings: {
        enablePush: false,
        initialWindowSize: streamWindowBytes,
        maxHeaderListSize: maxHeadBytes,
      },
    });
    session.on('error', ignore);
    session.on('connect', () => session.setLocalWindowSize(sessionWindowBytes));
    session.on('remoteSettings', () => this.#settle());
    session.on('goaway', () => this.retire());
    session.on('stream', refusePush);
    this.#session = session;
  }

  get now(): number {
    return this.#transport.loop.time();
  }

  get busy(): boolean {
    return this.#streams.size > 0;
  }

  /** It can take one more exchange. */
  get room(): boolean {
    const { closed, destroyed, remoteSettings } = this.#session;
    if (this.#retired || closed || destroyed || !this.connection.open) return false;
    return this.#streams.size < (remoteSettings.maxConcurrentStreams ?? Infinity);
  }

  /** Until the server has said how much it takes. Rejects when the connection ends before. */
  ready(signal: AbortSignal | undefined): Promise<void> {
    const waiter = new Waiter<void>('settings');
    const promise = waiter.start({ signal });
    if (!waiter.active) return promise;
    if (this.#settled) waiter.wake();
    else if (!this.connection.open) waiter.fail(this.#lost(undefined));
    else this.#ready = waiter;
    return promise;
  }

  #settle(): void {
    this.#settled = true;
    if (this.#ready?.active) this.#ready.wake();
    this.#ready = null;
    // There may be room for those who wait now.
    if (this.busy) this.connection.owner?.connectionFree(this.connection);
  }

  #lost(cause: Error | undefined): Error {
    const { host, port } = this.connection;
    const message = 'The server closed the connection before its SETTINGS';
    return new ClientConnectionError(message, { code: 'ECONNRESET', host, port }, { cause });
  }

  /**
   * Node stops to read while it writes; and for ever, when nghttp2 has ended the session for a
   * fault of the server, which Node before 24 tells nobody.
   */
  #watchPause(turns: number, bytes: number): void {
    setImmediate(() => {
      const duplex = this.#duplex;
      if (duplex.destroyed || !duplex.isPaused()) return;
      const quiet = duplex.bytesWritten === bytes && duplex.writableLength === 0;
      if (quiet && turns >= pausedTurns) this.end();
      else if (duplex.writableLength === 0)
        this.#watchPause(quiet ? turns + 1 : 0, duplex.bytesWritten);
    });
  }

  /** A place for an exchange; it must be freed or dropped. */
  lend(): Http2Stream {
    const stream = new Http2Stream(this);
    this.#streams.add(stream);
    return stream;
  }

  request(headers: OutgoingHttpHeaders, endStream: boolean): ClientHttp2Stream {
    return this.#session.request(headers, { endStream });
  }

  /** The place is free. */
  leave(stream: Http2Stream): void {
    if (!this.#streams.delete(stream)) return;
    if (this.#retired && !this.busy) this.connection.drop();
    else this.connection.owner?.connectionFree(this.connection);
  }

  /** What goes on may end; nothing else begins. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    if (!this.busy) this.connection.drop();
  }

  crash(error: unknown): void {
    for (const { exchange } of [...this.#streams]) exchange?.crash(error);
  }

  /** Closes the connection at once. */
  end(): void {
    this.#transport.abort();
  }

  /** Calls into an exchange as a transport would. */
  enter(call: () => void): void {
    const { context } = this.#transport;
    if (context === null) call();
    else context.run(run, call);
  }

  #closed(error: Error | undefined): void {
    if (this.#ready?.active) this.#ready.fail(this.#lost(error));
    this.#ready = null;
    this.connection.leave();
    for (const stream of [...this.#streams]) stream.lost(error);
    // Which tells the connection.
    this.#transport.onClosed(error);
  }
}

/** It came before the server had read that none is wanted. */
function refusePush(stream: ClientHttp2Stream): void {
  stream.on('error', ignore);
  stream.close(refusedStream);
}

function run(call: () => void): void {
  call();
}
