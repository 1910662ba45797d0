/**
 * One connection of a client: bytes between a transport and the exchange that goes on.
 *
 * In: callbacks of a transport. Out: calls of an exchange. Never: a byte that nobody asked for as
 * part of a later response: such a connection is dropped.
 */
import { Buffer } from 'node:buffer';
import type { Data } from '../../base/errors.ts';
import type { Protocol, Transport } from '../../io/protocols.ts';
import type { Carrier } from './carrier.ts';
import type { ClientExchange, Outgoing } from './exchange.ts';
import { disconnectedError, malformedError } from './exchange-errors.ts';
import { Http2Session } from './http2-session.ts';
import {
  FramingError,
  type ResponseHead,
  ResponseParser,
  type ResponseSink,
} from './response-parser.ts';

/** The pool. */
export interface ConnectionOwner {
  /** Its exchange is over and it can take another one. */
  connectionFree(connection: ClientConnection): void;
  /** It is closed, or is being closed. Once. */
  connectionGone(connection: ClientConnection): void;
}

/** The server closes it then; a request must not be on its way at that time. */
const marginMs = 1_000;

/** Of a Keep-Alive header: `timeout=5, max=100`. */
function promisedMs(header: string): number {
  const seconds = /(?:^|[\s,;])timeout\s*=\s*"?(\d{1,9})/i.exec(header)?.[1];
  return seconds === undefined ? Infinity : Math.max(0, Number(seconds) * 1000 - marginMs);
}

export class ClientConnection implements Carrier, Protocol, ResponseSink {
  readonly key: string;
  readonly host: string;
  readonly port: number;
  readonly parser: ResponseParser = new ResponseParser(this);
  transport: Transport | null = null;
  exchange: ClientExchange | null = null;
  /** Null while it is being set up. */
  owner: ConnectionOwner | null = null;
  /** Not closed, and not being closed. */
  open = false;
  /** Exchanges that began on it. */
  uses = 0;
  /** How long its server keeps it idle, as far as it says so. */
  keepAliveMs: number = Infinity;
  /** On the clock of its loop: when it has been idle for too long. */
  idleUntilMs = 0;

  /** HTTP/2 is spoken on it. */
  http2: Http2Session | null = null;
  readonly refused = false;

  constructor(key: string, host: string, port: number) {
    this.key = key;
    this.host = host;
    this.port = port;
  }

  connectionMade(transport: Transport): void {
    this.transport = transport;
    this.open = true;
    if (transport.tls?.alpn === 'h2') this.http2 = new Http2Session(this, transport);
  }

  get started(): boolean {
    return this.parser.started;
  }

  get leftBytes(): number {
    return this.parser.leftBytes;
  }

  get bufferedBytes(): number {
    return this.transport?.writeBufferBytes ?? 0;
  }

  sendHead(plan: Outgoing, body: Data | null): void {
    this.parser.begin(plan.method, plan.upgrade !== null);
    if (body === null) this.stream.write(plan.head);
    else this.stream.writeLines([plan.head, body]);
  }

  sendBody(data: Data, declared: boolean): void {
    if (declared) this.stream.write(data);
    else if (data.length > 0) {
      const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
      this.stream.writeLines([`${bytes.toString(16)}\r\n`, data, '\r\n']);
    }
  }

  endBody(declared: boolean): void {
    if (!declared) this.stream.write('0\r\n\r\n');
  }

  pauseReading(): void {
    this.stream.pauseReading();
  }

  resumeReading(): void {
    this.stream.resumeReading();
  }

  private get stream(): Transport {
    return this.transport as Transport;
  }

  dataReceived(chunk: Buffer): void {
    if (this.exchange === null) {
      this.drop();
      return;
    }
    try {
      this.parser.feed(chunk);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.exchange?.crash(malformedError(this.exchange, error));
    }
  }

  eofReceived(): void {
    if (this.exchange === null) this.drop();
    else if (!this.parser.end())
      this.exchange.crash(disconnectedError(this.exchange, this, undefined));
  }

  connectionLost(error?: Error): void {
    this.leave();
    this.exchange?.crash(disconnectedError(this.exchange, this, error));
  }

  resumeWriting(): void {
    this.exchange?.writer?.drained();
  }

  onInterim(status: number): void {
    this.exchange?.onInterim(status);
  }

  onHead(head: ResponseHead): void {
    const kept = head.header('keep-alive');
    if (kept !== null) this.keepAliveMs = promisedMs(kept);
    this.exchange?.onHead(head);
  }

  onUpgrade(head: ResponseHead, rest: Buffer): void {
    this.exchange?.onUpgrade(head, rest);
  }

  onBody(chunk: Buffer): void {
    this.exchange?.onBody(chunk);
  }

  onEnd(clean: boolean): void {
    this.exchange?.onEnd(clean);
  }

  /** The exchange is over. */
  free(): void {
    this.exchange = null;
    this.transport?.resumeReading();
    this.owner?.connectionFree(this);
  }

  /** It is another protocol's from now on, and none of the pool's. */
  release(): Transport {
    this.parser.stop();
    this.exchange = null;
    this.leave();
    return this.transport as Transport;
  }

  /** Closes it at once. */
  drop(): void {
    this.parser.stop();
    this.exchange = null;
    this.leave();
    if (this.http2 !== null) this.http2.end();
    else this.transport?.abort();
  }

  /** Ends what goes on on it. */
  crash(error: unknown): void {
    this.exchange?.crash(error);
    this.http2?.crash(error);
  }

  /** @internal It is of no use any more. */
  leave(): void {
    if (!this.open) return;
    this.open = false;
    this.owner?.connectionGone(this);
  }
}
