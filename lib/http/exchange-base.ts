/**
 * What exchanges over Node's own streams share: who is told of the body, and of its end.
 *
 * In: what a stream of Node says about one request. Out: calls of the sink. Never: a call of the
 * sink when the exchange is over; the response.
 */
import type { CallbackContext } from '../io/handles.ts';
import type { ExchangeSink } from './wire.ts';

function run(call: () => void): void {
  call();
}

export abstract class ExchangeBase {
  /** Rule 7 of the seam; of no effect for HTTP/2, where other streams go on. */
  keepAlive = true;
  /** The response is complete, or cannot be. */
  over = false;
  bodyComplete: boolean;
  /** The rest of the body will not come, or is wrong. */
  protected failure: { readonly status: number; readonly reason: string } | null = null;
  protected sink: ExchangeSink | null = null;
  /** Somebody wants the body. */
  protected reading = false;
  readonly #context: CallbackContext;

  constructor(context: CallbackContext, bodyComplete: boolean) {
    this.#context = context;
    this.bodyComplete = bodyComplete;
  }

  watch(sink: ExchangeSink): void {
    this.sink = sink;
  }

  readBody(sink: ExchangeSink): void {
    this.sink = sink;
    if (this.reading) return;
    this.reading = true;
    if (this.bodyComplete) process.nextTick(() => this.tell((to) => to.onBodyEnd()));
    else if (this.failure !== null) process.nextTick(() => this.#tellFailure());
    else this.beginBody();
  }

  /** Makes the stream flow, and calls `tell` for what comes. */
  protected abstract beginBody(): void;

  failBody(status: number, reason: string): void {
    if (this.bodyComplete || this.failure !== null) return;
    this.failure = { status, reason };
    this.keepAlive = false;
    if (this.reading) this.#tellFailure();
  }

  #tellFailure(): void {
    const { status, reason } = this.failure as { status: number; reason: string };
    this.tell((to) => to.onBodyError(status, reason));
  }

  /** A call of the sink, in the server's context. */
  protected tell(call: (sink: ExchangeSink) => void): void {
    const { sink } = this;
    if (sink !== null && !this.over) this.#context.run(run, () => call(sink));
  }

  /** No call of the sink comes any more. */
  protected end(): void {
    this.over = true;
    this.sink = null;
  }

  /** The client, or the connection, is gone: its last call. */
  protected tellAborted(error: Error | undefined): void {
    const { sink } = this;
    this.end();
    if (sink !== null) this.#context.run(run, () => sink.onAborted(error));
  }
}
