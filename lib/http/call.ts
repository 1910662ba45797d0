/**
 * One request on its way through an application: its task, its body, its end.
 *
 * In: an exchange. Out: one response, or none when the client is gone. Never: a second response.
 */
import type { Buffer } from 'node:buffer';
import { BrokenResourceError, isCancelled } from '../base/errors.ts';
import type { EventLoop } from '../io/handles.ts';
import { onAbort } from '../task/abort.ts';
import { isThenable } from '../task/enter.ts';
import { currentLoop } from '../task/frame.ts';
import { FAILED, type Future } from '../task/future.ts';
import { leaveBehind } from '../task/run.ts';
import { startHandlerTask } from '../task/spawn.ts';
import { endsItself, endTask, ownerOfTask, type Task, type TaskOwner } from '../task/task.ts';
import type { Application } from './application.ts';
import { BodyReader } from './exchange-body.ts';
import type { ExchangeWriter } from './exchange-writer.ts';
import { HttpError } from './http-error.ts';
import type { Placed } from './placed.ts';
import type { TrustTest } from './proxy.ts';
import { ServerRequest } from './request.ts';
import { Response, type ResponseLike } from './response.ts';
import { sendBare, sendResponse } from './send.ts';
import type { Exchange, ExchangeSink } from './wire.ts';

/** What a server waits for when it ends, and cancels when that takes too long. */
export interface UnderWay extends Placed {
  /** The server ends, and nothing else will end this. */
  leave?(): void;
  cancel(reason: string): void;
  /** It was cancelled and goes on: the server ends without it. */
  abandon?(): void;
}

/** What calls of one server have in common. */
export interface CallSettings {
  readonly trust: TrustTest | null;
  readonly handlerCancellation: boolean;
  /** Give handlers of `{ fetch }` a real Web Request. */
  readonly webRequest: boolean;
  /** Somebody wants to know how many bytes were sent. */
  readonly logged: boolean;
  ended(call: Call): void;
  /** A call goes on as something else. */
  began(one: UnderWay): void;
  /** @param call to be logged only now; null: nobody wants that */
  over(one: UnderWay, call: Call | null): void;
}

/** Of calls that no server makes. */
export const defaultSettings: CallSettings = {
  trust: null,
  handlerCancellation: false,
  webRequest: false,
  logged: false,
  ended(): void {},
  began(): void {},
  over(): void {},
};

/** What answers: a compiled application. */
export interface Dispatcher {
  dispatch(call: Call): ResponseLike | PromiseLike<ResponseLike>;
  recover(call: Call, error: unknown): ResponseLike | PromiseLike<ResponseLike>;
  hasRoute(method: string, path: string): boolean;
}

export class Call implements ExchangeSink, TaskOwner, UnderWay {
  readonly exchange: Exchange;
  readonly settings: CallSettings;
  readonly dispatcher: Dispatcher;
  readonly path: string;
  readonly request: ServerRequest;
  app: Application;
  maxBodyBytes: number = Infinity;
  task: Task | null = null;
  /** Of the response; 0 before. */
  status = 0;
  /** Body bytes of the response. */
  sentBytes = 0;
  startedMs = 0;
  place = -1;
  writer: ExchangeWriter | null = null;
  #reader: BodyReader | null = null;
  #controller: AbortController | null = null;
  #gone: Error | null = null;
  #watching = false;
  #bodyTaken = false;
  /** Nobody waits for the handler any more. */
  abandoned = false;

  constructor(
    exchange: Exchange,
    settings: CallSettings,
    dispatcher: Dispatcher,
    app: Application,
  ) {
    this.exchange = exchange;
    this.settings = settings;
    this.dispatcher = dispatcher;
    this.app = app;
    this.path = pathOf(exchange.target);
    this.request = new ServerRequest(this);
  }

  /** In a task of its own; what can be done at once is done when this returns. */
  start(loop: EventLoop): void {
    const task = startHandlerTask(loop, null, null, handle, this as Call, this);
    if (task.done) return;
    this.task = task;
    // The signal was asked for before the handler's first wait.
    if (this.#controller !== null) this.#followTask(this.#controller, task);
    this.watch();
  }

  /** The response was begun. */
  get responded(): boolean {
    return this.status !== 0;
  }

  get logged(): boolean {
    return this.settings.logged;
  }

  /** The client is gone; why. */
  get gone(): Error | null {
    return this.#gone;
  }

  watch(): void {
    if (this.#watching || !this.exchange.open) return;
    this.#watching = true;
    this.exchange.watch(this);
  }

  get reader(): BodyReader {
    if (this.#reader === null) {
      this.#reader = new BodyReader(this.exchange, this.maxBodyBytes, () => {
        this.#watching = true;
        this.exchange.readBody(this);
      });
      if (this.#bodyTaken) this.#reader.onEof();
    }
    return this.#reader;
  }

  /** All of the body where it is there and nobody has begun to read it: no reader is made. */
  takeBody(): Buffer | null {
    if (this.#reader !== null) return null;
    const body = this.exchange.takeBody?.(this.maxBodyBytes) ?? null;
    if (body !== null) this.#bodyTaken = true;
    return body;
  }

  get signal(): AbortSignal {
    if (this.#controller !== null) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const { task } = this;
    if (this.#gone !== null) controller.abort(this.#gone);
    else if (task !== null) this.#followTask(controller, task);
    this.watch();
    return controller.signal;
  }

  #followTask(controller: AbortController, task: Task): void {
    const { signal } = task;
    if (signal.aborted) controller.abort(signal.reason);
    else onAbort(signal, () => controller.abort(signal.reason));
  }

  cancel(reason: string): void {
    this.task?.cancel(reason);
  }

  abandon(): void {
    this.abandoned = true;
    const { exchange, task } = this;
    tellAbandoned(this.request.method, this.path, task);
    if (exchange.open && !this.responded) {
      exchange.keepAlive = false;
      // Past hooks: they may not end either.
      sendBare(this, cancelledResponse());
    } else if (exchange.open && this.writer?.ended === false) {
      exchange.abort();
    }
    this.settings.ended(this);
  }

  // ---- ExchangeSink ----

  onBodyData(chunk: Buffer): void {
    this.#reader?.onData(chunk);
  }

  onBodyEnd(): void {
    this.#reader?.onEof();
  }

  onBodyError(status: number, reason: string): void {
    this.#reader?.fail(new HttpError(status, reason));
  }

  onDrain(): void {
    this.writer?.drained();
  }

  onClientEnd(): void {
    this.#leave(new BrokenResourceError('The client has ended the connection'));
  }

  onAborted(error: Error | undefined): void {
    const cause = error === undefined ? undefined : { cause: error };
    const gone = new BrokenResourceError('The client is gone', cause);
    this.#gone = gone;
    this.writer?.lost(error);
    this.#reader?.fail(gone);
    this.#leave(gone);
  }

  #leave(why: Error): void {
    this.#controller?.abort(why);
    if (this.settings.handlerCancellation) this.cancel(why.message);
  }

  // ---- of the task ----

  /** Its last step. */
  onFutureDone(future: Future<unknown>): void {
    if (future.status === FAILED) this.report((future as Task).failure(), future as Task);
    if (this.abandoned) return;
    if (this.exchange.open && (!this.responded || this.writer?.ended === false)) {
      this.exchange.abort();
    }
    this.settings.ended(this);
  }

  report(error: unknown, task: Task | null): void {
    const message = `Exception in the handler of ${this.request.method} ${this.path}`;
    currentLoop().callExceptionHandler({ message, error, ...(task === null ? {} : { task }) });
  }
}

/** Reports a handler that the server does not wait for any more. */
export function tellAbandoned(method: string, path: string, task: Task | null): void {
  const what = `The handler of ${method} ${path}`;
  const message = `${what} goes on although it was cancelled: the server ends without it`;
  if (task !== null) leaveBehind(task);
  currentLoop().callExceptionHandler({ message, ...(task === null ? {} : { task }) });
}

function pathOf(target: string): string {
  // The query goes first: a slash in it is none of the path.
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  if (path.charCodeAt(0) === 47 || path === '*') return path;
  // Absolute form.
  const start = path.indexOf('/', path.indexOf('://') + 3);
  return start < 0 ? '/' : path.slice(start);
}

/** The body of a call's task. */
function handle(call: Call): unknown {
  let result: ResponseLike | PromiseLike<ResponseLike>;
  try {
    result = call.dispatcher.dispatch(call);
  } catch (error) {
    return recover(call, error);
  }
  if (!isThenable(result)) return finish(call, result);
  // Shared functions, which end the task themselves: no closure, and one promise less.
  Promise.resolve(result).then(onAnswer, onFault);
  return endsItself;
}

function onAnswer(response: ResponseLike): void {
  endTask(finish(ownerOfTask() as Call, response));
}

function onFault(error: unknown): void {
  endTask(recover(ownerOfTask() as Call, error));
}

function finish(call: Call, response: ResponseLike): void | PromiseLike<void> {
  if (call.abandoned) return;
  let sent: void | PromiseLike<void>;
  try {
    sent = sendResponse(call, response);
  } catch (error) {
    return recover(call, error);
  }
  if (!isThenable(sent)) return;
  return Promise.resolve(sent).catch((error: unknown) => recover(call, error));
}

/** An error of the handler, or of sending what it returned. */
async function recover(call: Call, error: unknown): Promise<void> {
  if (call.gone !== null || !call.exchange.open) {
    // There is nobody left to tell; a fault of the handler's own is told of.
    if (!isCancelled(error) && !(error instanceof BrokenResourceError)) throw error;
    return;
  }
  if (call.responded) {
    call.exchange.abort();
    throw error;
  }
  if (isCancelled(error)) {
    call.exchange.keepAlive = false;
    await sendResponse(call, cancelledResponse());
    throw error;
  }
  const response = await call.dispatcher.recover(call, error);
  try {
    await sendResponse(call, response);
  } catch (fault) {
    await recoverPlainly(call, error, fault);
  }
}

function cancelledResponse(): Response {
  return new Response('The request was cancelled', { status: 503 });
}

/** What an error handler made cannot be sent, or a hook failed again: an answer without them. */
async function recoverPlainly(call: Call, error: unknown, fault: unknown): Promise<void> {
  const lost = call.gone !== null || !call.exchange.open;
  if (lost || call.responded || isCancelled(fault)) return await recover(call, fault);
  if (fault instanceof HttpError) {
    await sendBare(call, fault.toResponse());
    return;
  }
  if (fault !== error) call.report(fault, null);
  await sendBare(call, new Response('Internal Server Error', { status: 500 }));
}
