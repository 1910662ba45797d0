/**
 * A WebSocket of a server that is handled by callbacks.
 *
 * In: callbacks of a route, a request. Out: calls of them. Never: a task, a promise or a queue for
 * a socket: thousands of idle ones hold nothing but themselves.
 */
import { argTypeError, InvalidStateError } from '../../base/errors.ts';
import { isThenable } from '../../task/enter.ts';
import type { Call, CallSettings, UnderWay } from '../call.ts';
import type { HttpRequest } from '../request.ts';
import type { Agreed } from './handshake.ts';
import type { Message } from './inbox.ts';
import { flagCalling, flagGone } from './sending.ts';
import { WebSocketStream } from './socket.ts';
import type { Terms } from './terms.ts';
import type { WebSocketConnection } from './types.ts';

/** What a handler that failed, or a server that ends, has left to say goodbye. Milliseconds. */
export const farewellMs = 1_000;

/**
 * What a route does with its sockets, instead of a handler that is a task for each of them: a
 * third of the memory of an idle socket, and less time for each message. The socket stays open
 * until either side closes it. They run in the loop, outside of tasks, as those of a Protocol do.
 *
 * What a callback throws, or a promise that it returns rejects with, goes to the loop's exception
 * handler and closes the socket with code 1011. While the peer does not read what was sent to it,
 * nothing is read from it.
 */
export interface WebSocketCallbacks<P extends string = string> {
  /** Once, before the first message. */
  connectionMade?(socket: WebSocketConnection, request: HttpRequest<P>): void;
  /** Not after a close of our own. */
  messageReceived(socket: WebSocketConnection, message: string | Buffer): void;
  /** Once, when it is gone: `closeCode` and `closeReason` say why. */
  connectionLost?(socket: WebSocketConnection): void;
}

/** @throws TypeError */
export function checkHandler(given: unknown): void {
  if (typeof given === 'function') return;
  const { messageReceived } = (given ?? {}) as { messageReceived?: unknown };
  if (typeof messageReceived === 'function') return;
  throw argTypeError('handler', 'a function, or callbacks with messageReceived()', given);
}

/** The call of a socket, where somebody wants to know of its end; else only that one's settings. */
export type Origin = Call | CallSettings;

export function originOf(call: Call): Origin {
  return call.settings.logged ? call : call.settings;
}

/** Its connection is gone, and its handler has ended. */
export function socketOver(socket: UnderWay, origin: Origin): void {
  if ('over' in origin) origin.over(socket, null);
  else origin.settings.over(socket, origin);
}

export class CalledSocket extends WebSocketStream implements UnderWay {
  /** @internal */
  place = -1;
  readonly #callbacks: WebSocketCallbacks;
  #origin: Origin;

  constructor(terms: Terms, agreed: Agreed, call: Call, callbacks: WebSocketCallbacks) {
    super(terms, agreed);
    this.#callbacks = callbacks;
    this.#origin = call;
  }

  /** @internal */
  override socketMade(): void {
    const call = this.#origin as Call;
    this.#origin = originOf(call);
    this.flags |= flagCalling;
    try {
      this.watch(this.#callbacks.connectionMade?.(this, call.request));
    } catch (error) {
      this.failed(error);
    }
    this.flags &= ~flagCalling;
  }

  protected override take(message: Message): void {
    if (!this.open) return;
    this.flags |= flagCalling;
    try {
      this.watch(this.#callbacks.messageReceived(this, message));
    } catch (error) {
      this.failed(error);
    }
    this.flags &= ~flagCalling;
  }

  /** @internal */
  override socketGone(): void {
    try {
      this.watch(this.#callbacks.connectionLost?.(this));
    } catch (error) {
      this.failed(error);
    }
    socketOver(this, this.#origin);
  }

  /** Callbacks return nothing; that one is an async function is seen only by its promise. */
  private watch(result: unknown): void {
    if (result !== undefined && isThenable(result)) {
      Promise.resolve(result).catch((error: unknown) => this.failed(error));
    }
  }

  private failed(error: unknown): void {
    if (!this.has(flagGone)) this.finish(1011, farewellMs);
    const message = 'Exception in a callback of a WebSocket';
    this.terms.loop.callExceptionHandler({ message, error });
  }

  override pauseWriting(): void {
    super.pauseWriting();
    this.pauseInput();
  }

  override resumeWriting(): void {
    super.resumeWriting();
    this.resumeInput();
  }

  /** @internal */
  leave(): void {
    this.finish(1001, Infinity);
  }

  /** @internal */
  cancel(): void {
    this.abort();
  }

  override receive(): Promise<never> {
    return Promise.reject(this.refusal());
  }

  override receiveText(): Promise<never> {
    return this.receive();
  }

  override receiveBytes(): Promise<never> {
    return this.receive();
  }

  override [Symbol.asyncIterator](): never {
    throw this.refusal();
  }

  private refusal(): InvalidStateError {
    return new InvalidStateError('Messages of this WebSocket go to messageReceived()');
  }
}
