/**
 * Applications without a server.
 *
 * In: a Web Request. Out: a Web Response. Never: a socket.
 */
import { Buffer } from 'node:buffer';
import { ReadableStream, type ReadableStreamDefaultController } from 'node:stream/web';
import { argTypeError, BrokenResourceError, type Data } from '../base/errors.ts';
import type { SocketAddress } from '../io/net-types.ts';
import { currentLoop } from '../task/frame.ts';
import { abortable } from '../task/signal.ts';
import type { Application } from './application.ts';
import { Call, defaultSettings } from './call.ts';
import { dispatcherOf } from './dispatch.ts';
import type { Exchange, ExchangeSink, HeaderList } from './wire.ts';

const nowhere: SocketAddress = Object.freeze({ address: '', port: 0, family: 'unix' });

type Resolve = (response: globalThis.Response) => void;

/** A Web Request and its Response as an exchange. */
class WebExchange implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly httpVersion = '1.1' as const;
  readonly secure: boolean;
  readonly tls = null;
  readonly remoteAddress: SocketAddress = nowhere;
  readonly localAddress: SocketAddress = nowhere;
  readonly bodyBytes: number;
  readonly expectsContinue = false;
  readonly upgradeable = false;
  keepAlive = true;
  open = true;
  readonly #headers: Headers;
  readonly #host: string;
  readonly #body: ReadableStream<Uint8Array> | null;
  readonly #resolve: Resolve;
  readonly #reject: (error: unknown) => void;
  #sink: ExchangeSink | null = null;
  #paused = false;
  #resume: (() => void) | null = null;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #draining = false;

  constructor(request: Request, resolve: Resolve, reject: (error: unknown) => void) {
    const url = new URL(request.url);
    this.method = request.method;
    this.target = url.pathname + url.search;
    this.secure = url.protocol === 'https:';
    this.#host = url.host;
    this.#headers = request.headers;
    this.#body = request.body as ReadableStream<Uint8Array> | null;
    const length = request.headers.get('content-length');
    this.bodyBytes = this.#body === null ? 0 : length === null ? -1 : Number(length);
    this.#resolve = resolve;
    this.#reject = reject;
    const { signal } = request;
    const gone = (): void => this.#lost(signal.reason);
    if (signal?.aborted) queueMicrotask(gone);
    else signal?.addEventListener('abort', gone, { once: true });
  }

  get headerCount(): number {
    return this.headerList().length / 2;
  }

  header(name: string): string | null {
    const value = this.#headers.get(name);
    return value === null && name === 'host' ? this.#host : value;
  }

  headerList(): HeaderList {
    return [...this.#headers].flat();
  }

  watch(sink: ExchangeSink): void {
    this.#sink = sink;
  }

  readBody(sink: ExchangeSink): void {
    this.#sink = sink;
    this.#pump().catch(() => this.#sink?.onBodyError(400, 'The body could not be read'));
  }

  async #pump(): Promise<void> {
    for await (const chunk of this.#body as ReadableStream<Uint8Array>) {
      this.#sink?.onBodyData(Buffer.from(chunk));
      if (this.#paused) {
        await new Promise<void>((resolve) => {
          this.#resume = resolve;
        });
      }
    }
    this.#sink?.onBodyEnd();
  }

  pauseBody(): void {
    this.#paused = true;
  }

  resumeBody(): void {
    this.#paused = false;
    this.#resume?.();
  }

  respond(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): void {
    if (!this.open) return;
    this.open = false;
    const bytes = typeof body === 'string' ? body : body === null ? null : Uint8Array.from(body);
    this.#answer(status, statusText, headers, bytes);
  }

  startResponse(status: number, statusText: string, headers: HeaderList): void {
    if (!this.open) return;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller as ReadableStreamDefaultController<Uint8Array>;
        },
        pull: () => {
          if (!this.#draining) return;
          this.#draining = false;
          this.#sink?.onDrain();
        },
        cancel: (reason) => this.#lost(reason),
      },
      { highWaterMark: 65_536, size: (chunk) => chunk?.length ?? 0 },
    );
    this.#answer(status, statusText, headers, stream);
  }

  #answer(status: number, statusText: string, headers: HeaderList, body: unknown): void {
    const pairs: [string, string][] = [];
    for (let i = 0; i < headers.length; i += 2) {
      pairs.push([headers[i] as string, headers[i + 1] as string]);
    }
    const bodyless = this.method === 'HEAD' || status === 204 || status === 205 || status === 304;
    try {
      const init = { status, statusText, headers: pairs };
      this.#resolve(new globalThis.Response((bodyless ? null : body) as never, init));
    } catch (error) {
      this.#reject(error);
    }
  }

  write(data: Data): number {
    if (!this.open) return 0;
    this.#controller?.enqueue(Uint8Array.from(Buffer.from(data as string)));
    return this.bufferedBytes;
  }

  get bufferedBytes(): number {
    return this.open ? 65_536 - (this.#controller?.desiredSize ?? 65_536) : 0;
  }

  notifyDrain(): void {
    this.#draining = true;
  }

  endResponse(): void {
    if (!this.open) return;
    this.open = false;
    this.#controller?.close();
  }

  abort(): void {
    if (!this.open) return;
    this.open = false;
    const error = new BrokenResourceError('The response was not completed');
    if (this.#controller !== null) this.#controller.error(error);
    else this.#reject(error);
  }

  upgrade(): void {}

  #lost(reason: unknown): void {
    if (!this.open) return;
    this.open = false;
    this.#reject(reason);
    this.#sink?.onAborted(reason instanceof Error ? reason : undefined);
  }
}

const started: WeakMap<Application, Promise<void>> = new WeakMap();

/** @internal See `Application.fetch`. */
export async function fetchOnce(app: Application, request: Request): Promise<globalThis.Response> {
  if (!(request instanceof Request)) throw argTypeError('request', 'a Request', request);
  let starting = started.get(app);
  if (starting === undefined) {
    starting = app.life.acquire();
    started.set(app, starting);
  }
  await starting;
  const answer = new Promise<globalThis.Response>((resolve, reject) => {
    const exchange = new WebExchange(request, resolve, reject);
    new Call(exchange, defaultSettings, dispatcherOf(app), app).start(currentLoop());
  });
  return await abortable(answer);
}
