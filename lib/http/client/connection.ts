/**
 * One connection of a client: bytes between a transport and the exchange that goes on.
 *
 * In: callbacks of a transport. Out: calls of an exchange. Never: a byte that nobody asked for as
 * part of a later response: such a connection is dropped.
 */
import type { Buffer } from 'node:buffer';
import type { Protocol, Transport } from '../../io/protocols.ts';
import {
  ClientPayloadError,
  ClientResponseError,
  ServerDisconnectedError,
} from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import type { ClientExchange } from './exchange.ts';
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

export class ClientConnection implements Protocol, ResponseSink {
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

  constructor(key: string, host: string, port: number) {
    this.key = key;
    this.host = host;
    this.port = port;
  }

  connectionMade(transport: Transport): void {
    this.transport = transport;
    this.open = true;
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
      this.exchange?.crash(this.#malformed(this.exchange, error));
    }
  }

  eofReceived(): void {
    if (this.exchange === null) this.drop();
    else if (!this.parser.end()) this.exchange.crash(this.#disconnected(this.exchange, undefined));
  }

  connectionLost(error?: Error): void {
    this.#leave();
    this.exchange?.crash(this.#disconnected(this.exchange, error));
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
    this.#leave();
    return this.transport as Transport;
  }

  /** Closes it at once. */
  drop(): void {
    this.parser.stop();
    this.exchange = null;
    this.#leave();
    this.transport?.abort();
  }

  #leave(): void {
    if (!this.open) return;
    this.open = false;
    this.owner?.connectionGone(this);
  }

  #malformed(exchange: ClientExchange, cause: FramingError): Error {
    const message = `The response is malformed: ${cause.message}`;
    if (exchange.head !== null) return new ClientPayloadError(message, { cause });
    const response = { status: 0, headers: new HttpHeaders(), url: exchange.plan.url };
    return new ClientResponseError(message, response, { cause });
  }

  #disconnected(exchange: ClientExchange, cause: Error | undefined): Error {
    if (exchange.head !== null) {
      return new ClientPayloadError('The connection ended before the body', { cause });
    }
    const code = (cause as { code?: string } | undefined)?.code ?? 'ECONNRESET';
    const { host, port } = this;
    const message = 'The server closed the connection before its response';
    return new ServerDisconnectedError(message, { code, host, port }, { cause });
  }
}
