/**
 * Requests that become WebSockets, on a server.
 *
 * In: a request, a handler. Out: a response that takes the connection over when it is sent. Never:
 * a connection that outlives its handler, where there is one.
 */
import { type Awaitable, BrokenResourceError, ClosedResourceError } from '../../base/errors.ts';
import { currentLoop } from '../../task/frame.ts';
import { CANCELLED, FAILED, type Future } from '../../task/future.ts';
import { startHandlerTask } from '../../task/spawn.ts';
import { Task, type TaskOwner } from '../../task/task.ts';
import type { Application } from '../application.ts';
import { type Call, tellAbandoned, type UnderWay } from '../call.ts';
import { HttpError } from '../http-error.ts';
import { type HttpRequest, ServerRequest } from '../request.ts';
import { Response, type ResponseLike } from '../response.ts';
import {
  CalledSocket,
  farewellMs,
  type Origin,
  originOf,
  socketOver,
  type WebSocketCallbacks,
} from './callbacks.ts';
import { type Agreed, readRequest } from './handshake.ts';
import { checkWebSocket, type WebSocketOptions, type WebSocketPlan } from './options.ts';
import { flagGone } from './sending.ts';
import { WebSocketStream } from './socket.ts';
import { Terms } from './terms.ts';
import { Topics } from './topics.ts';
import type { WebSocketConnection } from './types.ts';

type Serve = (socket: WebSocketConnection) => Awaitable<void>;
/** What serves a socket. */
type Service = Serve | WebSocketCallbacks;

const topicsOf: WeakMap<Application, Topics> = new WeakMap();

/** One list for an application and all that is mounted in it. */
export function applicationTopics(app: Application): Topics {
  let root = app;
  while (root.parent !== null) root = root.parent;
  let topics = topicsOf.get(root);
  if (topics === undefined) {
    topics = new Topics();
    topicsOf.set(root, topics);
  }
  return topics;
}

/** Terms of the sockets of one handler: made once for each application and loop. */
class Route {
  readonly plan: WebSocketPlan;
  #terms: Terms | null = null;

  constructor(options: WebSocketOptions | undefined) {
    this.plan = checkWebSocket(options);
  }

  termsFor(app: Application): Terms {
    const topics = applicationTopics(app);
    const loop = currentLoop();
    if (this.#terms?.topics !== topics || this.#terms.loop !== loop) {
      this.#terms = new Terms(loop, this.plan, topics);
    }
    return this.#terms;
  }
}

/** Status 101. What middlewares add to its headers is sent as well. */
export class UpgradeResponse extends Response {
  readonly #handshake: readonly string[];
  readonly #agreed: Agreed;
  readonly #route: Route;
  readonly #service: Service;

  constructor(handshake: readonly string[], agreed: Agreed, route: Route, service: Service) {
    super(null);
    this.status = 101;
    this.#handshake = handshake;
    this.#agreed = agreed;
    this.#route = route;
    this.#service = service;
  }

  /** @internal Sends it: the request ends, and the socket is served by a task or by callbacks. */
  begin(call: Call, extraHeaders: readonly string[]): void {
    const { exchange } = call;
    if (!exchange.open) throw new BrokenResourceError('The client is gone');
    call.status = 101;
    const socket = this.#makeSocket(call);
    exchange.upgrade([...this.#handshake, ...extraHeaders], socket);
  }

  #makeSocket(call: Call): WebSocketStream {
    const service = this.#service;
    const terms = this.#route.termsFor(call.app);
    if (typeof service !== 'function') {
      const socket = new CalledSocket(terms, this.#agreed, call, service);
      call.settings.began(socket);
      return socket;
    }
    const socket = new ServedSocket(terms, this.#agreed, call, service);
    call.settings.began(socket);
    return socket;
  }
}

/** The handler of a socket that nobody waits for any more. */
const nobody: Serve = async () => {};

/** A socket on a server with a handler: its task, its end. */
class ServedSocket extends WebSocketStream implements TaskOwner, UnderWay {
  place = -1;
  /** Who wants to know of its end gets it with its request. */
  readonly #origin: Origin;
  readonly #path: string;
  /** What to run, then what runs. */
  #work: Serve | Task;

  constructor(terms: Terms, agreed: Agreed, call: Call, serve: Serve) {
    super(terms, agreed);
    this.#origin = originOf(call);
    this.#path = call.path;
    this.#work = serve;
  }

  /** @internal */
  override socketMade(): void {
    const serve = this.#work as Serve;
    this.#work = startHandlerTask(currentLoop(), null, null, serve, this, this);
  }

  /** @internal */
  override socketGone(): void {
    if (!this.serving) socketOver(this, this.#origin);
  }

  private get serving(): boolean {
    return this.#work instanceof Task && !this.#work.done;
  }

  /** @internal */
  cancel(reason: string): void {
    if (this.serving) (this.#work as Task).cancel(reason);
    else this.abort();
  }

  /** @internal */
  abandon(): void {
    if (!this.serving) return;
    tellAbandoned('GET', this.#path, this.#work as Task);
    this.#work = nobody;
    if (this.has(flagGone)) socketOver(this, this.#origin);
    else this.finish(1001, farewellMs);
  }

  /** @internal The last step of the handler: what it left open is closed, as its end says. */
  onFutureDone(future: Future<unknown>): void {
    if (this.#work !== future) return;
    if (future.status === FAILED) {
      const error = (future as Task).failure();
      const told = error instanceof ClosedResourceError || error instanceof BrokenResourceError;
      if (this.open || !told) {
        this.finish(1011, farewellMs);
        const message = `Exception in the handler of GET ${this.#path}`;
        future.loop.callExceptionHandler({ message, error, task: future as Task });
      }
    } else if (future.status === CANCELLED) {
      this.finish(1001, farewellMs);
    } else {
      this.finish(1000, Infinity);
    }
    if (this.has(flagGone)) socketOver(this, this.#origin);
  }
}

function accept(request: unknown, route: Route, service: Service): Response {
  if (!(request instanceof ServerRequest)) {
    throw new TypeError('request must be what the server gave to the handler');
  }
  const { exchange } = request.call;
  const { protocols, compress } = route.plan;
  const found = readRequest((name) => exchange.header(name), protocols, compress);
  if ('status' in found) {
    throw new HttpError(found.status, found.message, { headers: found.headers });
  }
  if (!exchange.upgradeable) {
    throw new HttpError(400, 'A WebSocket needs GET on HTTP/1.1, without a body');
  }
  return new UpgradeResponse(found.headers, found.agreed, route, service);
}

/**
 * The WebSocket of a request inside a plain handler: return `response`; `socket` resolves when it
 * was sent. The socket is yours to close; the server's end breaks it off.
 * @throws HttpError 400 for a bad handshake, 426 for a request that asks for no WebSocket or for
 *   another version; TypeError for a request that is not the server's own
 */
export function upgradeWebSocket(
  request: Request,
  options?: WebSocketOptions,
): { socket: Promise<WebSocketConnection>; response: ResponseLike } {
  let give: (socket: WebSocketConnection) => void;
  const socket = new Promise<WebSocketConnection>((resolve) => {
    give = resolve;
  });
  const response = accept(request, new Route(options), (made) => {
    give(made);
    return (made as WebSocketStream).ended;
  });
  return { socket, response };
}

/** @internal What `Application.ws` takes. */
export type WebSocketHandler<P extends string> =
  | ((socket: WebSocketConnection, request: HttpRequest<P>) => Awaitable<void>)
  | WebSocketCallbacks<P>;

/** @internal The handler of `Application.ws`. @throws TypeError */
export function webSocketHandler<P extends string>(
  handler: WebSocketHandler<P>,
  options: WebSocketOptions,
): (request: HttpRequest<P>) => ResponseLike {
  const route = new Route(options);
  if (typeof handler !== 'function') {
    return (request) => accept(request, route, handler as WebSocketCallbacks);
  }
  return (request) => accept(request, route, (socket) => handler(socket, request));
}
