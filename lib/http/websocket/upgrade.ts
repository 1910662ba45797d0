/**
 * Requests that become WebSockets, on a server.
 *
 * In: a request, a handler. Out: a response that takes the connection over when it is sent. Never:
 * a connection that outlives its handler, where there is one.
 */
import {
  type Awaitable,
  BrokenResourceError,
  ClosedResourceError,
  isCancelled,
} from '../../base/errors.ts';
import { currentLoop } from '../../task/frame.ts';
import { shielded } from '../../task/scope.ts';
import type { Application } from '../application.ts';
import type { Call } from '../call.ts';
import { HttpError } from '../http-error.ts';
import { type HttpRequest, ServerRequest } from '../request.ts';
import { Response, type ResponseLike } from '../response.ts';
import { type Agreed, readRequest } from './handshake.ts';
import { checkWebSocket, type WebSocketOptions, type WebSocketPlan } from './options.ts';
import { WebSocketStream } from './socket.ts';
import { Topics } from './topics.ts';
import type { WebSocketConnection } from './types.ts';

/** What a handler that was cancelled, or failed, has left to say goodbye. Milliseconds. */
const farewellMs = 1_000;

type Serve = (socket: WebSocketConnection) => Awaitable<void>;

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

/** Status 101. What middlewares add to its headers is sent as well. */
export class UpgradeResponse extends Response {
  readonly #handshake: readonly string[];
  readonly #agreed: Agreed;
  readonly #plan: WebSocketPlan;
  readonly #serve: Serve;

  constructor(handshake: readonly string[], agreed: Agreed, plan: WebSocketPlan, serve: Serve) {
    super(null);
    this.status = 101;
    this.#handshake = handshake;
    this.#agreed = agreed;
    this.#plan = plan;
    this.#serve = serve;
  }

  /** @internal Sends it; ends with its handler. */
  async begin(call: Call, extraHeaders: readonly string[]): Promise<void> {
    const { exchange } = call;
    if (!exchange.open) throw new BrokenResourceError('The client is gone');
    call.status = 101;
    const topics = applicationTopics(call.app);
    const socket = new WebSocketStream(currentLoop(), true, this.#plan, this.#agreed, topics);
    const made = new Promise<void>((resolve) => {
      socket.onMade = resolve;
    });
    exchange.upgrade([...this.#handshake, ...extraHeaders], socket);
    await made;
    await serveOne(socket, this.#serve);
  }
}

async function serveOne(socket: WebSocketStream, serve: Serve): Promise<void> {
  try {
    await serve(socket);
  } catch (error) {
    const left =
      !socket.open &&
      (error instanceof ClosedResourceError || error instanceof BrokenResourceError);
    if (left) {
      await socket.close();
      return;
    }
    const code = isCancelled(error) ? 1001 : 1011;
    await shielded(() => socket.close(code), { graceMs: farewellMs }).catch(() => {});
    throw error;
  }
  await socket.close();
}

function accept(request: unknown, options: WebSocketOptions | undefined, serve: Serve): Response {
  if (!(request instanceof ServerRequest)) {
    throw new TypeError('request must be what the server gave to the handler');
  }
  const plan = checkWebSocket(options);
  const { exchange } = request.call;
  const found = readRequest((name) => exchange.header(name), plan.protocols, plan.compress);
  if ('status' in found) {
    throw new HttpError(found.status, found.message, { headers: found.headers });
  }
  if (!exchange.upgradeable) {
    throw new HttpError(400, 'A WebSocket needs GET on HTTP/1.1, without a body');
  }
  return new UpgradeResponse(found.headers, found.agreed, plan, serve);
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
  const response = accept(request, options, (made) => {
    give(made);
    return (made as WebSocketStream).ended;
  });
  return { socket, response };
}

/** @internal The handler of `Application.ws`. */
export function webSocketHandler<P extends string>(
  handler: (socket: WebSocketConnection, request: HttpRequest<P>) => Awaitable<void>,
  options: WebSocketOptions,
): (request: HttpRequest<P>) => ResponseLike {
  checkWebSocket(options);
  return (request) => accept(request, options, (socket) => handler(socket, request));
}
