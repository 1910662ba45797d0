/**
 * Bridges to node:http: its servers run our applications, our servers run its listeners.
 *
 * In: applications, fetch handlers, request listeners. Out: the one as the other. Never: a socket.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import { argTypeError, BrokenResourceError } from '../base/errors.ts';
import { Application, type FetchHandler, type Handler } from '../http/application.ts';
import { Call, defaultSettings } from '../http/call.ts';
import { dispatcherOf, fetchDispatcher } from '../http/dispatch.ts';
import { type ExchangeOwner, NodeExchange } from '../http/node-exchange.ts';
import type { HttpRequest, ServerRequest } from '../http/request.ts';
import { Response } from '../http/response.ts';
import { captureContext } from '../io/callback-context.ts';
import type { SocketAddress } from '../io/net-types.ts';
import { currentLoop } from '../task/frame.ts';
import { abortable } from '../task/signal.ts';

/** Of HTTP/2. (RFC 9113 7) */
const internalError = 2;

export type RequestListener = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void;

/** What an exchange wants to know of the server of Node's that it belongs to. */
function ownerOf(request: IncomingMessage, response: ServerResponse): ExchangeOwner {
  const { socket } = request;
  const address = (ip: string | undefined, port: number | undefined): SocketAddress => ({
    address: ip ?? '',
    port: port ?? 0,
    family: ip === undefined ? 'unix' : ip.includes(':') ? 'IPv6' : 'IPv4',
  });
  return {
    context: captureContext(currentLoop()),
    secure: (socket as { encrypted?: boolean }).encrypted === true,
    tls: null,
    closing: false,
    get remoteAddress(): SocketAddress {
      return address(socket.remoteAddress, socket.remotePort);
    },
    get localAddress(): SocketAddress {
      return address(socket.localAddress, socket.localPort);
    },
    waitingBytes: 0,
    onProgress(call): void {
      if (response.writableNeedDrain) response.once('drain', call);
      else setImmediate(call);
    },
    lastResponse(): void {},
    bodyWanted(): void {},
    bodyDone(): void {},
    abort(): void {
      // That of HTTP/2 would end its stream as if all of it had been said.
      const { stream } = response as unknown as { stream?: ServerHttp2Stream };
      if (stream === undefined) response.destroy();
      else if (!stream.destroyed) stream.close(internalError);
    },
    upgrade(): void {},
    tooManyTrailers: () => false,
  };
}

/**
 * An application or fetch handler for node:http.createServer, or Express' `use`: there, requests
 * that no route fits go on to the next one. Start-up hooks run before the first request.
 * @throws TypeError for anything else
 */
export function toRequestListener(app: Application | { fetch: FetchHandler }): RequestListener {
  const application = app instanceof Application ? app : new Application();
  const dispatcher = app instanceof Application ? dispatcherOf(app) : toDispatcher(app);
  let starting: Promise<void> | null = null;
  return (request, response, next) => {
    const owner = ownerOf(request, response);
    const exchange = new NodeExchange(request, response, owner, false, false);
    exchange.readBefore = request.readableEnded;
    const call = new Call(exchange, defaultSettings, dispatcher, application);
    if (next !== undefined && !dispatcher.hasRoute(exchange.method, call.path)) {
      next();
      return;
    }
    // Of no effect behind a response. (That of HTTP/2 calls itself finished when it was aborted.)
    response.on('close', () => exchange.lost(undefined));
    starting ??= application.life.acquire();
    starting.then(
      () => call.start(currentLoop()),
      (error: unknown) => {
        if (next !== undefined) next(error);
        else response.destroy(error as Error);
      },
    );
  };
}

function toDispatcher(app: { fetch: FetchHandler }): ReturnType<typeof fetchDispatcher> {
  if (typeof app?.fetch !== 'function') {
    throw argTypeError('app', 'an Application or an object with a function fetch', app);
  }
  // What is around it bounds bodies, if anybody does.
  return fetchDispatcher((request) => app.fetch(request), {
    webRequest: false,
    maxBodyBytes: Infinity,
  });
}

/** Headers of one connection, not of the request. */
const hopByHop: ReadonlySet<string> = new Set(['connection', 'expect', 'keep-alive', 'upgrade']);

/**
 * A node:http listener or Express app as a handler of a uvio server. It gets real objects of
 * node:http, over a connection in memory. What it calls `next` for is a 404, or throws the error.
 * When the client leaves, or the server ends, they emit 'aborted' and 'close'. An error behind the
 * head of the response breaks the response, and is reported.
 * @throws TypeError for what is no function
 */
export function fromRequestListener(listener: RequestListener): Handler {
  if (typeof listener !== 'function') throw argTypeError('listener', 'a function', listener);
  return (request) => forward(listener, request);
}

/** A request at its listener, and the end that either side may make of it. */
class Forwarding {
  /** Ours, and the listener's. */
  readonly near: Duplex;
  readonly far: Duplex;
  readonly #call: Call;
  #answered = false;

  constructor(request: HttpRequest) {
    const { signal } = request;
    [this.near, this.far] = duplexPair();
    this.#call = (request as ServerRequest).call;
    const cut = (): void => this.cut();
    // As under node:http: the listener hears 'aborted' and 'close' when the client leaves.
    signal.addEventListener('abort', cut, { once: true });
    this.far.once('close', () => {
      signal.removeEventListener('abort', cut);
      if (!this.far.writableFinished) this.near.destroy();
    });
    if (signal.aborted) cut();
  }

  cut(): void {
    this.far.destroy();
    this.near.destroy();
  }

  /** From now on nothing that fails can be answered. */
  answered(): void {
    this.#answered = true;
  }

  /** The listener failed. */
  failed(error: unknown): void {
    if (!this.#answered) return;
    this.#call.report(error, null);
    this.cut();
  }

  /** @param error of the connection in memory: the client left, or the listener cut it off */
  lost(error: NodeJS.ErrnoException): Error {
    if (error.code !== 'ECONNRESET') return error;
    const { exchange } = this.#call;
    if (exchange.open) exchange.abort();
    return new BrokenResourceError('The request was broken off', { cause: error });
  }

  async *body(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
    try {
      yield* incoming as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw this.lost(error as Error);
    }
  }
}

async function forward(listener: RequestListener, request: HttpRequest): Promise<Response> {
  const forwarding = new Forwarding(request);
  const { far } = forwarding;
  // What frameworks look at; Express asks for the address of the client.
  Object.defineProperties(far, {
    remoteAddress: { value: request.ip },
    encrypted: { value: request.secure },
    setTimeout: { value: () => far },
    setKeepAlive: { value: () => far },
    setNoDelay: { value: () => far },
  });
  const failed = new Promise<never>((_, reject) => {
    const fail = (error: unknown): void => {
      forwarding.failed(error);
      reject(error);
    };
    const server = http.createServer((incoming, response) => {
      const next = (error?: unknown): void => {
        if (error !== undefined && error !== null) fail(error);
        else response.writeHead(404).end();
      };
      try {
        const result = listener(incoming, response, next) as unknown;
        if (result instanceof Promise) result.catch(fail);
      } catch (error) {
        fail(error);
      }
    });
    server.emit('connection', far);
  });
  try {
    const incoming = await abortable(Promise.race([ask(forwarding, request), failed]));
    forwarding.answered();
    return toResponse(incoming, request, forwarding);
  } catch (error) {
    forwarding.cut();
    throw error;
  }
}

async function ask(forwarding: Forwarding, request: HttpRequest): Promise<IncomingMessage> {
  const { exchange } = (request as ServerRequest).call;
  const lines = exchange.headerList();
  const headers: string[] = [];
  for (let i = 0; i < lines.length; i += 2) {
    if (hopByHop.has((lines[i] as string).toLowerCase())) continue;
    headers.push(lines[i] as string, lines[i + 1] as string);
  }
  const outgoing = http.request({
    createConnection: () => forwarding.near as never,
    method: request.method,
    path: exchange.target,
    headers: [...headers, 'connection', 'close'] as never,
    setHost: false,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve);
    outgoing.on('error', (error) => reject(forwarding.lost(error)));
  });
  if (exchange.bodyBytes === 0) {
    outgoing.end();
  } else {
    copyBody(request, outgoing).catch((error: Error) => outgoing.destroy(error));
  }
  return await answered;
}

async function copyBody(request: HttpRequest, outgoing: http.ClientRequest): Promise<void> {
  for await (const chunk of request.reader) {
    await new Promise<void>((resolve, reject) => {
      outgoing.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  outgoing.end();
}

function toResponse(
  incoming: IncomingMessage,
  request: HttpRequest,
  forwarding: Forwarding,
): Response {
  const status = incoming.statusCode as number;
  const { rawHeaders } = incoming;
  const headers: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    headers.push([rawHeaders[i] as string, rawHeaders[i + 1] as string]);
  }
  const kept = headers.filter(([name]) => !/^(connection|keep-alive|date)$/i.test(name));
  const bodyless = status === 204 || status === 205 || status === 304;
  // To its end, which is there: the body below is not asked for then.
  if (bodyless || request.method === 'HEAD') incoming.resume();
  return new Response(bodyless ? null : forwarding.body(incoming), {
    status,
    statusText: incoming.statusMessage ?? '',
    headers: kept,
  });
}
