/**
 * A request and a response of node:http without their streams.
 *
 * In: what Node's parser says of one request, calls of its exchange. Out: the body, in order and
 * with back-pressure; a real ServerResponse for whoever writes piece by piece. Never: ticks,
 * states and listeners of a Readable and a Writable for a request that has no body and is
 * answered at once: they cost more than all else that is done for it.
 *
 * Node takes both classes by documented options of createServer, as "useful for extending" its own.
 * That they need not run Node's constructors is tried before it is relied on: light-probe.ts.
 */
import { Buffer } from 'node:buffer';
import http, { IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { ignore } from '../base/quiet.ts';

/** Of a body, before the connection is paused. */
const highWaterBytes = 65_536;

type Call<A extends unknown[]> = (...args: A) => void;

/** What Node's server keeps at its sockets. */
interface ServedSocket extends Duplex {
  _httpMessage?: unknown;
  _paused?: boolean;
}

/** What an exchange asks of a request, Node's own included. */
export interface RequestMessage {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly httpVersionMajor: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: string[];
  readonly rawTrailers: string[];
  readonly complete: boolean;
  /** Of HTTP/2: what came is not all, though the stream ends. */
  readonly aborted?: boolean;
  readonly readableEnded: boolean;
  readonly readableLength: number;
  on(event: string, call: Call<never[]>): unknown;
  read(): Buffer | null;
  pause(): unknown;
  resume(): unknown;
  isPaused(): boolean;
}

/** What an exchange asks of a response, Node's own included. */
export interface ResponseMessage {
  statusCode: number;
  shouldKeepAlive: boolean;
  readonly destroyed: boolean;
  readonly writableLength: number;
  readonly socket: unknown;
  on(event: 'finish', call: () => void): unknown;
  emit(event: 'finish'): unknown;
  detachSocket(socket: never): void;
  removeHeader(name: string): void;
  writeHead(status: number, statusText: string, headers: never): unknown;
  writeContinue(): void;
  flushHeaders(): void;
  write(chunk: string | Uint8Array): unknown;
  end(chunk?: string | Uint8Array): unknown;
}

/** Inherits from IncomingMessage (see below), whose constructor does not run. */
export class LightMessage implements RequestMessage {
  declare readonly httpVersion: string;
  declare readonly httpVersionMajor: number;
  declare readonly headers: http.IncomingHttpHeaders;
  socket: ServedSocket;
  method: string | undefined = undefined;
  url: string | undefined = undefined;
  rawHeaders: string[] = [];
  rawTrailers: string[] = [];
  complete = false;
  destroyed = false;
  /** Node asks for it, lest it dumps what an exchange may still read. */
  readonly _consuming = true;
  /** Node drops what is pushed when it is true. */
  readonly _dumped = false;
  readableLength = 0;
  #chunks: Buffer[] = [];
  #ended = false;
  #flowing: boolean | null = null;
  #waiting = false;
  #onData: Call<[Buffer]> | null = null;
  #onEnd: (() => void)[] = [];

  constructor(socket: ServedSocket) {
    this.socket = socket;
  }

  /** Of Node's parser. False: the connection is to be paused. */
  push(chunk: Buffer | null): boolean {
    if (chunk === null) {
      this.#ended = true;
      if (this.#flowing === true || this.#onData === null) this.#tellEnd();
      return false;
    }
    if (this.destroyed) return true;
    if (this.#flowing === true && this.#chunks.length === 0) {
      this.#onData?.(chunk);
      return true;
    }
    this.#chunks.push(chunk);
    this.readableLength += chunk.length;
    return this.readableLength < highWaterBytes;
  }

  /** Nothing is left to be read. */
  get readableEnded(): boolean {
    return this.#ended && this.#chunks.length === 0;
  }

  on(event: string, call: Call<never[]>): this {
    if (event === 'data') this.#onData = call as Call<[Buffer]>;
    else if (event === 'end') this.#onEnd.push(call as () => void);
    return this;
  }

  removeListener(event: string, call: Call<never[]>): this {
    if (event === 'end') this.#onEnd = this.#onEnd.filter((one) => one !== call);
    return this;
  }

  /** All that came. */
  read(): Buffer | null {
    const chunks = this.#chunks;
    if (chunks.length === 0) return null;
    this.#chunks = [];
    this.readableLength = 0;
    this.#tellEnd();
    this.#readOn();
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }

  isPaused(): boolean {
    return this.#flowing === false;
  }

  pause(): this {
    this.#flowing = false;
    return this;
  }

  resume(): this {
    if (this.#flowing === true) return this;
    this.#flowing = true;
    if (!this.#waiting) {
      this.#waiting = true;
      process.nextTick(flow, this);
    }
    return this;
  }

  /** Of Node, when the connection is gone: the exchange hears of it from its owner. */
  destroy(): this {
    this.destroyed = true;
    this.#chunks = [];
    this.readableLength = 0;
    this.#onData = null;
    this.#onEnd = [];
    return this;
  }

  /** @internal */
  flow(): void {
    this.#waiting = false;
    while (this.#flowing === true) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) {
        this.#tellEnd();
        if (!this.#ended) this.#readOn();
        return;
      }
      this.readableLength -= chunk.length;
      this.#onData?.(chunk);
    }
  }

  #tellEnd(): void {
    if (!this.readableEnded || this.#onEnd.length === 0) return;
    const calls = this.#onEnd;
    this.#onEnd = [];
    for (const call of calls) call.call(this);
  }

  /** As Node's own does, when there is room again. */
  #readOn(): void {
    const { socket } = this;
    if (socket._paused !== true && socket.readable) socket.resume();
  }
}

// Fields, headers and what newer Nodes call are Node's.
Object.setPrototypeOf(LightMessage.prototype, IncomingMessage.prototype);
// But for those that newer Nodes have for `request.signal`: they want fields of its constructor.
for (const key of Object.getOwnPropertySymbols(IncomingMessage.prototype)) {
  const { value } = Object.getOwnPropertyDescriptor(IncomingMessage.prototype, key) ?? {};
  if (typeof value === 'function')
    Object.defineProperty(LightMessage.prototype, key, { value: ignore });
}

function flow(message: LightMessage): void {
  message.flow();
}

/** What Node's server sets at a response before anybody has it. */
interface NodeFields {
  _last: boolean;
  _expect_continue: boolean;
  _onPendingData: unknown;
}

export class LightResponse implements ResponseMessage {
  readonly req: IncomingMessage;
  socket: ServedSocket | null = null;
  statusCode = 200;
  shouldKeepAlive = true;
  _expect_continue = false;
  _onPendingData: unknown = undefined;
  _closed = false;
  #last = false;
  #destroyed = false;
  #onFinish: (() => void)[] = [];
  #real: (ServerResponse & NodeFields) | null = null;

  constructor(req: IncomingMessage) {
    this.req = req;
  }

  // ---- of Node's server ----

  get _last(): boolean {
    return this.#real === null ? this.#last : this.#real._last;
  }

  set _last(value: boolean) {
    if (this.#real === null) this.#last = value;
    else this.#real._last = value;
  }

  get destroyed(): boolean {
    return this.#destroyed || this.#real?.destroyed === true;
  }

  set destroyed(value: boolean) {
    this.#destroyed = value;
  }

  assignSocket(socket: ServedSocket): void {
    this.socket = socket;
    if (this.#real === null) socket._httpMessage = this;
    else this.#real.assignSocket(socket as never);
  }

  detachSocket(socket: ServedSocket): void {
    this.socket = null;
    if (this.#real === null) socket._httpMessage = null;
    else this.#real.detachSocket(socket as never);
  }

  on(event: string, call: () => void): this {
    if (event === 'finish') this.#onFinish.push(call);
    return this;
  }

  emit(event: string): boolean {
    if (event !== 'finish') return false;
    const calls = this.#onFinish;
    this.#onFinish = [];
    for (const call of calls) call();
    return calls.length > 0;
  }

  destroy(): this {
    this.#destroyed = true;
    this.#real?.destroy();
    return this;
  }

  // ---- of those who write piece by piece ----

  get writableLength(): number {
    return this.#real === null ? 0 : this.#real.writableLength;
  }

  removeHeader(name: string): void {
    this.#become().removeHeader(name);
  }

  writeHead(status: number, statusText: string, headers: never): this {
    this.#become().writeHead(status, statusText, headers);
    return this;
  }

  writeContinue(): void {
    this.#become().writeContinue();
  }

  flushHeaders(): void {
    this.#become().flushHeaders();
  }

  write(chunk: string | Uint8Array): boolean {
    return this.#become().write(chunk);
  }

  end(chunk?: string | Uint8Array): this {
    this.#become().end(chunk);
    return this;
  }

  #become(): ServerResponse {
    if (this.#real !== null) return this.#real;
    const { socket } = this;
    const real = new http.ServerResponse(this.req) as ServerResponse & NodeFields;
    this.#real = real;
    real.statusCode = this.statusCode;
    real.shouldKeepAlive = this.shouldKeepAlive;
    real._expect_continue = this._expect_continue;
    if (this._onPendingData !== undefined) real._onPendingData = this._onPendingData;
    real._last = this.#last;
    if (socket !== null) {
      socket._httpMessage = null;
      real.assignSocket(socket as never);
    }
    real.on('finish', () => this.emit('finish'));
    return real;
  }
}
