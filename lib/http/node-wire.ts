/**
 * HTTP/1 over node:http, with the checks that make its verdicts those of the native wire.
 *
 * In: streams of any backend, or of TLS over them. Out: exchanges, one after the other.
 * Never: a socket of Node's own; a time limit of node:http's (they run on the loop).
 */
import { Buffer } from 'node:buffer';
import http, { IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { StreamHandle } from '../io/handles.ts';
import type { StreamProtocol } from '../io/protocols.ts';
import { flagGone } from '../io/stream.ts';
import { type Head, writeHead, writeWhole } from './answer.ts';
import { checkHead, type Refusal } from './framing.ts';
import { HandleDuplex } from './handle-duplex.ts';
import { trimBlanks } from './headers.ts';
import { LightMessage, LightResponse } from './light-message.ts';
import { lightMessagesFit } from './light-probe.ts';
import { Limit } from './limit.ts';
import { type ExchangeOwner, NodeExchange } from './node-exchange.ts';
import { refusalText } from './reasons.ts';
import { beginUpgraded } from './upgraded.ts';
import {
  type HeaderList,
  type OpenWire,
  slowBodyBytes,
  slowBodyMs,
  WireConnection,
  type WireHost,
} from './wire.ts';

const connectionKey: unique symbol = Symbol('uvio.http');
/** Of one response, before the next request of its connection is handled. */
const highWaterBytes = 65_536;

/** A socket that node:http serves. */
interface ServedSocket extends Duplex {
  [connectionKey]?: NodeConnection;
}

/** Node asks `upgrade` whether a request leaves HTTP: only a WebSocket's handshake does. */
const upgradeProperty: PropertyDescriptor & ThisType<AskingMessage> = {
  get(): boolean | null {
    return this.asksUpgrade === true ? asksForWebSocket(this) : this.asksUpgrade;
  },
  set(value: boolean | null): void {
    this.asksUpgrade = value;
  },
};

interface AskingMessage extends IncomingMessage {
  asksUpgrade: boolean | null;
}

class WireMessage extends LightMessage {}
class PlainWireMessage extends IncomingMessage {}
Object.defineProperty(WireMessage.prototype, 'upgrade', upgradeProperty);
Object.defineProperty(PlainWireMessage.prototype, 'upgrade', upgradeProperty);

function asksForWebSocket(request: IncomingMessage): boolean {
  const { headers } = request;
  return (
    request.method === 'CONNECT' ||
    (request.method === 'GET' &&
      request.httpVersion === '1.1' &&
      headers.upgrade?.toLowerCase() === 'websocket' &&
      headers['transfer-encoding'] === undefined &&
      (headers['content-length'] ?? '0') === '0')
  );
}

/** With both options of HTTP/1.0 llhttp keeps the connection. (RFC 9112 9.3) */
function asksToClose({ headers }: IncomingMessage): boolean {
  const options = headers.connection?.toLowerCase().split(',') ?? [];
  return options.some((option) => trimBlanks(option) === 'close');
}

export class NodeConnection extends WireConnection implements ExchangeOwner {
  readonly duplex: HandleDuplex;
  #queue: NodeExchange[] = [];
  #current: NodeExchange | null = null;
  /** The latest request of which the head came. */
  #latest: NodeExchange | null = null;
  #refusal: Refusal | null = null;
  /** A response said that it is the last one. */
  #last = false;
  #closeAsked = false;
  /** The client sent FIN: it will ask for nothing more. */
  #ended = false;
  #upgradeHead: Buffer | null = null;
  #released = false;

  readonly #limit: Limit;
  /** What the timer is about: the head of a request, or the body of one. */
  #reading: NodeExchange | null = null;
  #sinceMs: number;
  /** A later head has begun. */
  #begun = false;
  /** What comes is the rest of a body that nobody wants. */
  #dropping = false;
  #sinceBytes = 0;
  #fresh = true;
  #slowMs = 0;
  #slowBytes = 0;

  constructor(handle: StreamHandle, host: WireHost) {
    super(handle, host);
    this.#limit = new Limit(host.loop, () => this.#due());
    this.duplex = new HandleDuplex(handle, host.loop, host.context, {
      duplexEnded: () => this.#peerEnded(),
      duplexFed: () => this.#fed(),
      duplexClosed: (error) => this.#closed(error),
    });
    (this.duplex as ServedSocket)[connectionKey] = this;
    handle.sink = this.duplex;
    this.#sinceMs = host.loop.time();
    this.#limit.armIn(host.limits.headersTimeoutMs);
  }

  get busy(): boolean {
    return this.#current !== null || this.#queue.length > 0;
  }

  get closing(): boolean {
    // What came before the client's FIN is answered.
    const ended = this.#ended && this.#queue.length === 0 && this.#refusal === null;
    return this.host.closing || this.#closeAsked || ended;
  }

  get waitingBytes(): number {
    return this.duplex.waitingBytes;
  }

  override get writeBufferBytes(): number {
    return this.duplex.waitingBytes;
  }

  protected override get unsentBytes(): number {
    return this.duplex.writableLength + super.unsentBytes;
  }

  get sentBytes(): number {
    return this.duplex.bytesWritten + this.duplex.writableLength;
  }

  onProgress(call: () => void): void {
    this.duplex.onProgress(call);
  }

  closeWhenIdle(): void {
    this.#closeAsked = true;
    if (!this.busy && !this.#released) this.handle.close();
  }

  /** A head was parsed. */
  received(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    if (this.#refusal !== null || this.#last || this.#released) return;
    const head = {
      method: request.method as string,
      target: request.url as string,
      httpVersion: request.httpVersion,
      lines: request.rawHeaders,
    };
    const refusal = checkHead(head, this.host.limits);
    if (refusal !== null) {
      this.refuse(refusal.status, refusal.reason);
      return;
    }
    this.#limit.stop();
    const exchange = new NodeExchange(request, response, this, this.#upgradeHead !== null, expects);
    if (request.httpVersion === '1.0' && asksToClose(request)) exchange.keepAlive = false;
    // Of another protocol's: what came behind it in the same read is lost to Node's parser.
    const other = this.#upgradeHead === null && (request as AskingMessage).asksUpgrade === true;
    if (other) exchange.keepAlive = false;
    response.on('finish', () => this.#answered(exchange));
    this.#latest = exchange;
    this.#queue.push(exchange);
    if (this.#queue.length >= this.host.limits.maxPipelined) this.duplex.hold(true);
    // A short body comes with its head: handled then, it needs no reader.
    if (exchange.bodyComplete || expects || !this.duplex.feeding) this.#next();
  }

  /** A handshake: node:http has let go of the socket. */
  receivedUpgrade(request: IncomingMessage, response: ServerResponse, head: Buffer): void {
    this.#upgradeHead = head;
    response.shouldKeepAlive = false;
    response.assignSocket(this.duplex as never);
    response.on('finish', () => this.duplex.end());
    this.received(request, response, false);
  }

  /** Bad input: answered when all requests before it are. */
  refuse(status: number, reason: string): void {
    if (this.#refusal !== null || this.#released) return;
    this.#refusal = { status, reason };
    this.#limit.stop();
    const latest = this.#latest;
    if (latest !== null && !latest.bodyComplete) {
      // It is about the body of a request that was delivered: its handler is told.
      this.#last = this.#last || latest.over;
      latest.failBody(status, reason);
      if (!this.busy) this.#endSocket();
      return;
    }
    if (!this.busy) this.#answerRefusal();
  }

  // ---- ExchangeOwner ----

  lastResponse(): void {
    this.#last = true;
  }

  answer(
    exchange: NodeExchange,
    head: Head,
    body: string | Uint8Array | null,
    bytes: number,
  ): boolean {
    const { duplex, handle } = this;
    if (!duplex.queueEmpty || exchange.response.socket !== (duplex as unknown)) return false;
    duplex.bytesWritten += head.text.length + bytes;
    if (body === null || bytes === 0) writeHead(handle, head.text);
    else writeWhole(handle, head, body, bytes);
    // Not from within an answer: a handler's that waits would run inside of this one's.
    if (this.#queue.length > 0) process.nextTick(finish, exchange);
    else finish(exchange);
    return true;
  }

  bodyWanted(exchange: NodeExchange): void {
    const { loop } = this.host;
    this.#reading = exchange;
    this.#sinceMs = loop.time();
    this.#slowMs = this.#sinceMs;
    this.#slowBytes = 0;
    this.#limit.armIn(Math.min(this.host.limits.requestTimeoutMs, slowBodyMs));
  }

  bodyDone(exchange: NodeExchange): void {
    if (this.#reading !== exchange) return;
    this.#reading = null;
    this.#limit.stop();
  }

  upgrade(headers: HeaderList, protocol: StreamProtocol): void {
    const exchange = this.#current as NodeExchange;
    this.#released = true;
    this.#current = null;
    this.#limit.stop();
    let head = 'HTTP/1.1 101 Switching Protocols\r\n';
    for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    exchange.response.detachSocket(this.duplex as never);
    const { handle, unread } = this.duplex.release();
    const transport = this.handOver(handle, protocol);
    transport.write(`${head}\r\n`);
    const early = Buffer.concat([this.#upgradeHead as Buffer, unread]);
    this.context.run(beginUpgraded, { transport, early, ended: this.#ended });
  }

  tooManyTrailers(exchange: NodeExchange): boolean {
    const { rawHeaders, rawTrailers } = exchange.request;
    if (rawTrailers.length === 0) return false;
    const { maxHeaders, maxHeaderBytes } = this.host.limits;
    let bytes = 0;
    for (const part of [...rawHeaders, ...rawTrailers]) bytes += part.length + 2;
    return (rawHeaders.length + rawTrailers.length) / 2 > maxHeaders || bytes > maxHeaderBytes;
  }

  // ---- time limits ----

  #due(): void {
    const { loop, limits } = this.host;
    const now = loop.time();
    if (this.#reading !== null) {
      this.#checkBody(this.#reading, now);
      return;
    }
    const silent = this.duplex.bytesRead === this.#sinceBytes;
    if (!silent) {
      this.refuse(408, 'The request took too long');
      return;
    }
    const idleMs = this.#fresh ? limits.headersTimeoutMs : limits.keepAliveMs;
    const leftMs = this.#sinceMs + idleMs - now;
    if (leftMs > 0) {
      this.#limit.armIn(leftMs);
      return;
    }
    if (this.waitingBytes > 0) {
      // Not idle: the client has yet to take the last response, for which it has its own time.
      this.#limit.armIn(idleMs);
      return;
    }
    this.host.onRefused(this, 0, this.#fresh ? 'No request came' : 'Idle');
    this.handle.close();
  }

  #checkBody(exchange: NodeExchange, now: number): void {
    const { requestTimeoutMs } = this.host.limits;
    const cameBytes = exchange.receivedBytes - this.#slowBytes;
    // A body that we do not read cannot come faster.
    const paused = exchange.request.isPaused();
    const slow = now - this.#slowMs >= slowBodyMs && cameBytes < slowBodyBytes && !paused;
    if (slow || now - this.#sinceMs >= requestTimeoutMs) {
      this.#reading = null;
      this.refuse(408, 'The request took too long');
      return;
    }
    if (now - this.#slowMs >= slowBodyMs) {
      this.#slowMs = now;
      this.#slowBytes = exchange.receivedBytes;
    }
    this.#limit.armIn(Math.min(this.#sinceMs + requestTimeoutMs, this.#slowMs + slowBodyMs) - now);
  }

  // ---- one after the other ----

  #fed(): void {
    this.#next();
    if (this.#fresh || this.#begun || this.#last || this.#released || this.busy) return;
    if (this.#refusal !== null || this.duplex.bytesRead === this.#sinceBytes) return;
    if (this.#dropping) {
      this.#dropping = this.#latest?.request.complete === false;
      this.#sinceBytes = this.duplex.bytesRead;
      return;
    }
    // The time of a later head begins with its first byte.
    this.#begun = true;
    this.#sinceMs = this.host.loop.time();
    this.#limit.armIn(this.host.limits.headersTimeoutMs);
  }

  #next(): void {
    // Also asked for by later input: behind a last response nothing is handled.
    if (this.#current !== null || this.#last || this.#released) return;
    const exchange = this.#queue.shift();
    if (exchange === undefined) return;
    this.#current = exchange;
    if (this.#queue.length < this.host.limits.maxPipelined) this.duplex.hold(false);
    this.context.run(deliver, { host: this.host, exchange });
  }

  /** All bytes of a response are on their way. */
  #answered(exchange: NodeExchange): void {
    exchange.over = true;
    if (this.#current !== exchange || this.#released) return;
    if (this.duplex.waitingBytes > highWaterBytes) {
      this.duplex.onProgress(() => this.#answered(exchange));
      return;
    }
    this.#current = null;
    this.#reading = null;
    this.#fresh = false;
    if (this.#last) {
      this.#limit.stop();
      if (!this.duplex.writableEnded) this.#endSocket();
      return;
    }
    if (this.#queue.length > 0) {
      this.#next();
      return;
    }
    if (this.#refusal !== null) {
      this.#answerRefusal();
      return;
    }
    if (this.closing) {
      this.handle.close();
      return;
    }
    const { keepAliveMs } = this.host.limits;
    this.#sinceMs = this.host.loop.time();
    this.#sinceBytes = this.duplex.bytesRead;
    this.#begun = false;
    this.#dropping = !exchange.request.complete;
    this.#limit.armIn(keepAliveMs);
  }

  #answerRefusal(): void {
    const refusal = this.#refusal as Refusal;
    this.#last = true;
    this.host.onRefused(this, refusal.status, refusal.reason);
    this.duplex.write(refusalText(refusal.status, refusal.reason));
    this.#endSocket();
  }

  #endSocket(): void {
    const socket = this.duplex as ServedSocket & { destroySoon?: () => void };
    if (socket.destroySoon === undefined) socket.end();
    else socket.destroySoon();
  }

  #peerEnded(): void {
    this.#ended = true;
    this.#current?.clientEnded();
  }

  #closed(error: Error | undefined): void {
    this.#limit.stop();
    this.mark(flagGone);
    this.#current?.lost(error);
    for (const exchange of this.#queue) exchange.over = true;
    this.#current = null;
    this.#queue = [];
    if (!this.#released) this.leaveOwner();
  }
}

function deliver({ host, exchange }: { host: WireHost; exchange: NodeExchange }): void {
  host.onRequest(exchange);
}

/** Node goes on with its next message, as after any response. */
function finish({ response }: NodeExchange): void {
  if (!response.destroyed) response.emit('finish');
}

function connectionOf(socket: unknown): NodeConnection {
  return (socket as ServedSocket)[connectionKey] as NodeConnection;
}

function onClientError(error: Error & { code?: string; reason?: string }, socket: Duplex): void {
  const connection = (socket as ServedSocket)[connectionKey];
  const { code = '' } = error;
  if (connection === undefined || !code.startsWith('HPE_')) {
    socket.destroy();
    return;
  }
  if (code === 'HPE_HEADER_OVERFLOW') connection.refuse(431, 'Header fields too large');
  else if (error.reason === 'Invalid HTTP version') {
    connection.refuse(505, 'HTTP version not supported');
  } else connection.refuse(400, 'Bad request');
}

function listen(server: Server): void {
  server.on('request', (request, response) => {
    connectionOf(request.socket).received(request, response, false);
  });
  server.on('checkContinue', (request, response) => {
    connectionOf(request.socket).received(request, response, true);
  });
  server.on('checkExpectation', (request, response) => {
    connectionOf(request.socket).received(request, response, false);
  });
  server.on('connect', (request: IncomingMessage) => {
    connectionOf(request.socket).refuse(501, 'CONNECT is not supported');
  });
  server.on('upgrade', (request: IncomingMessage, _socket: Duplex, head: Buffer) => {
    const response = new http.ServerResponse(request);
    connectionOf(request.socket).receivedUpgrade(request, response, head);
  });
  server.on('clientError', onClientError);
}

/** Connections over node:http. */
export function nodeWire(host: WireHost): OpenWire {
  const light = lightMessagesFit();
  const options = {
    IncomingMessage: light ? WireMessage : PlainWireMessage,
    ServerResponse: light ? LightResponse : http.ServerResponse,
    maxHeaderSize: host.limits.maxHeaderBytes,
    requireHostHeader: false,
    keepAliveTimeout: 0,
    headersTimeout: 0,
    requestTimeout: 0,
    connectionsCheckingInterval: 2 ** 31 - 1,
  };
  const server: Server = http.createServer(options as never);
  server.timeout = 0;
  server.maxHeadersCount = 0;
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  // Deno's closes each connection behind a response when its server does not listen.
  Object.defineProperty(server, 'listening', { value: true });
  listen(server);
  return (stream) => {
    const connection = new NodeConnection(stream, host);
    server.emit('connection', connection.duplex);
    return connection;
  };
}
