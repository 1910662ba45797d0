/**
 * HTTP servers: where they listen, what is under way, and their end.
 *
 * In: an application or a fetch handler, and options. Out: responses. Never: an answer to a request
 * after `close` has resolved.
 */
import { ClosedResourceError, type WaitOptions } from '../base/errors.ts';
import { captureContext } from '../io/callback-context.ts';
import type { StreamHandle } from '../io/handles.ts';
import { defaultLimits } from '../io/limits.ts';
import type { SocketAddress } from '../io/net-types.ts';
import { StreamServer } from '../io/server.ts';
import { openServer } from '../io/start-server.ts';
import type { Stream } from '../io/stream.ts';
import { TlsStream } from '../io/tls/stream.ts';
import { currentLoop } from '../task/frame.ts';
import { CancelScope, shielded } from '../task/scope.ts';
import { sleep } from '../task/sleep.ts';
import { createTask } from '../task/spawn.ts';
import { Waiter } from '../task/waiter.ts';
import { Application, type FetchHandler } from './application.ts';
import { Call, type CallSettings, type Dispatcher, type UnderWay } from './call.ts';
import { dispatcherOf, fetchDispatcher } from './dispatch.ts';
import { http2Wire } from './http2-wire.ts';
import { nativeWire } from './native-wire.ts';
import { nodeWire } from './node-wire.ts';
import { joinList, leaveList } from './placed.ts';
import {
  type AccessRecord,
  checkServe,
  type FetchServeOptions,
  type ServeOptions,
  type ServePlan,
} from './serve-options.ts';
import {
  type Exchange,
  type OpenWire,
  WireConnection,
  type WireHost,
  type WireLimits,
} from './wire.ts';
import { WriteWatch } from './write-watch.ts';

/** Where a server listens. */
export type SiteOptions = Pick<ServeOptions, 'host' | 'port' | 'path' | 'fd' | 'tls' | 'http2'>;

export interface HttpServer extends AsyncDisposable {
  readonly addresses: readonly SocketAddress[];
  readonly port: number;
  /** Of the first address, with a final '/'. */
  readonly url: string;
  readonly connections: number;
  /** Requests being handled. */
  readonly requests: number;
  /** One more address (aiohttp: TCPSite, UnixSite, SockSite). */
  listen(options: SiteOptions): Promise<void>;
  /**
   * Stops listening, ends idle connections, waits for handlers, cancels late ones, cleans up. One
   * that goes on for as long again is reported, its client gets a 503, and nobody waits for it.
   * With `drainMs` connections are ended that much later, or when none is left: requests that come
   * meanwhile are answered, and each answer tells its client that the connection closes.
   */
  close(options?: { timeoutMs?: number; drainMs?: number }): Promise<void>;
  waitClosed(options?: WaitOptions): Promise<void>;
}

/** For last responses to go out, when a server closes. Milliseconds. */
const flushMs = 1_000;
/** For clients to close after them: a reset could overtake what they have not read. */
const partingMs = 100;
/** For handlers that were cancelled to end, at least. */
const minLateMs = 2_000;

/** Streams accepted at one address. */
class Site extends StreamServer {
  readonly #openWire: OpenWire;
  readonly #openHttp2: OpenWire = http2Wire();
  readonly #cleartext: boolean;
  readonly #host: WireHost;
  readonly #watch: WriteWatch;

  constructor(host: WireHost, plan: ServePlan, openWire: OpenWire, watch: WriteWatch) {
    super(host.loop, defaultLimits, plan.listen.maxConnections);
    this.#cleartext = plan.cleartext;
    this.#watch = watch;
    this.#host = host;
    this.#openWire = openWire;
  }

  protected override open(stream: StreamHandle): void {
    this.context.run(openOne, { site: this, stream });
  }

  openOne(stream: StreamHandle): void {
    const agreed = stream instanceof TlsStream && stream.info?.alpn === 'h2';
    const http2 = agreed || this.#cleartext;
    const connection = (http2 ? this.#openHttp2 : this.#openWire)(stream, this.#host);
    this.link(connection);
    connection.tellOpened();
    this.#watch.begin();
  }

  /** Bytes of responses wait for their clients. */
  get writing(): boolean {
    for (let stream: Stream | null = this.first; stream !== null; stream = stream.next) {
      if (stream.writeBufferBytes > 0) return true;
    }
    return false;
  }

  /** They may leave the list meanwhile. */
  *clients(): Generator<WireConnection> {
    let stream: Stream | null = this.first;
    while (stream !== null) {
      const { next }: { next: Stream | null } = stream;
      if (stream instanceof WireConnection) yield stream;
      stream = next;
    }
  }
}

function openOne({ site, stream }: { site: Site; stream: StreamHandle }): void {
  site.openOne(stream);
}

/** @internal */
export class RunningServer implements HttpServer, WireHost, CallSettings {
  readonly loop: WireHost['loop'];
  readonly limits: WireLimits;
  readonly context: WireHost['context'];
  readonly trust: CallSettings['trust'];
  readonly handlerCancellation: boolean;
  readonly webRequest: boolean;
  readonly logged: boolean;
  closing = false;
  readonly #app: Application;
  readonly #dispatcher: Dispatcher;
  readonly #plan: ServePlan;
  readonly #watch: WriteWatch;
  readonly #accessLog: ((record: AccessRecord) => void) | null;
  #sites: Site[] = [];
  #requests = 0;
  /** Requests that are over. */
  served = 0;
  /** Calls that are not done, and what became of some. */
  readonly #calls: UnderWay[] = [];
  #idleWaiters: Waiter<void>[] = [];
  #closeWaiters: Waiter<void>[] = [];
  #closed = false;
  #ending: Promise<void> | null = null;

  constructor(app: Application, dispatcher: Dispatcher, plan: ServePlan) {
    this.loop = currentLoop();
    this.context = captureContext(this.loop);
    this.#app = app;
    this.#dispatcher = dispatcher;
    this.#plan = plan;
    this.#watch = new WriteWatch(this.loop, plan.writeTimeoutMs, () => this.#clients());
    this.limits = plan.limits;
    this.trust = plan.trust;
    this.handlerCancellation = plan.handlerCancellation;
    this.webRequest = plan.webRequest;
    this.#accessLog = plan.accessLog;
    this.logged = plan.accessLog !== null;
  }

  get addresses(): readonly SocketAddress[] {
    return this.#sites.flatMap((site) => site.addresses);
  }

  get port(): number {
    return this.#sites[0]?.port ?? 0;
  }

  get url(): string {
    const site = this.#sites[0];
    const [address] = this.addresses;
    if (site === undefined || address === undefined) return '';
    const scheme = site.tls !== null ? 'https' : 'http';
    if (address.family === 'unix') return `${scheme}://localhost/`;
    const everywhere = address.address === '::' || address.address === '0.0.0.0';
    const plain = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${scheme}://${everywhere ? 'localhost' : plain}:${address.port}/`;
  }

  get connections(): number {
    return this.#sites.reduce((sum, site) => sum + site.connections, 0);
  }

  get requests(): number {
    return this.#requests;
  }

  /** Start-up hooks, then listening. */
  async begin(): Promise<void> {
    await this.#app.life.acquire();
    try {
      await this.#open(this.#plan);
    } catch (error) {
      this.#closed = true;
      await shielded(() => this.#app.life.release());
      throw error;
    }
  }

  async listen(options: SiteOptions): Promise<void> {
    if (this.closing) throw new ClosedResourceError('The server was closed');
    await this.#open(checkServe(this.loop, options));
  }

  async #open(plan: ServePlan): Promise<void> {
    const site = new Site(this, plan, nativeWire(this) ?? nodeWire(this), this.#watch);
    await openServer(site, plan.listen);
    if (this.closing) {
      site.close();
      throw new ClosedResourceError('The server was closed');
    }
    this.#sites.push(site);
    await site.start();
  }

  *#clients(): Generator<WireConnection> {
    for (const site of this.#sites) yield* site.clients();
  }

  // ---- of the wire ----

  onRequest(exchange: Exchange): void {
    const call = new Call(exchange, this, this.#dispatcher, this.#app);
    this.#requests++;
    if (this.#accessLog !== null) call.startedMs = this.loop.time();
    call.start(this.loop);
    if (call.task !== null) joinList(this.#calls, call);
  }

  onRefused(connection: WireConnection, status: number, _reason: string): void {
    if (this.#accessLog === null || status === 0) return;
    const ip = connection.handle.remoteAddress()?.address ?? '';
    this.#log({ method: '', path: '', status, bytes: 0, durationMs: 0, ip });
  }

  ended(call: Call): void {
    if (call.status !== 101) this.over(call, call);
    else this.#leave(call);
  }

  began(one: UnderWay): void {
    this.#requests++;
    joinList(this.#calls, one);
  }

  over(one: UnderWay, call: Call | null): void {
    if (this.#accessLog !== null && call !== null) {
      this.#log({
        method: call.request.method,
        path: call.path,
        status: call.status,
        bytes: call.sentBytes,
        durationMs: this.loop.time() - call.startedMs,
        ip: call.request.ip,
      });
    }
    this.served++;
    this.#leave(one);
  }

  #leave(one: UnderWay): void {
    this.#requests--;
    leaveList(this.#calls, one);
    if (this.#calls.length > 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const waiter of waiters) waiter.wake();
  }

  #log(record: AccessRecord): void {
    try {
      this.#accessLog?.(record);
    } catch (error) {
      this.loop.callExceptionHandler({ message: 'The access log threw', error });
    }
  }

  // ---- the end ----

  close(options: { timeoutMs?: number; drainMs?: number } = {}): Promise<void> {
    const { timeoutMs = this.#plan.shutdownTimeoutMs, drainMs = 0 } = options;
    this.#ending ??= createTask({ name: 'close of an HTTP server' }, () =>
      shielded(() => this.#end(timeoutMs, drainMs)),
    ).join();
    const waiter = new Waiter<void>('close');
    const promise = waiter.start();
    this.#ending.then(
      () => waiter.wake(),
      (error: unknown) => waiter.fail(error),
    );
    return promise;
  }

  async #end(timeoutMs: number, drainMs: number): Promise<void> {
    this.closing = true;
    for (const site of this.#sites) site.close();
    const errors: unknown[] = [];
    await this.#app.life.tellShutdown().catch((error: unknown) => errors.push(error));
    if (drainMs > 0) await new CancelScope({ timeoutMs: drainMs }).run(() => this.#allGone());
    for (const one of [...this.#calls]) one.leave?.();
    for (const client of this.#clients()) client.closeWhenIdle();
    await new CancelScope({ timeoutMs }).run(() => this.#idle());
    for (const call of [...this.#calls]) call.cancel('The server was closed');
    // As long again, to clean up. Who waits for a foreign promise has not even heard.
    const lateMs = Math.max(timeoutMs, minLateMs);
    await new CancelScope({ timeoutMs: lateMs }).run(() => this.#idle());
    for (const call of [...this.#calls]) call.abandon?.();
    await this.#idle();
    await this.#drained();
    await this.#app.life.release().catch((error: unknown) => errors.push(error));
    this.#closed = true;
    const waiters = this.#closeWaiters;
    this.#closeWaiters = [];
    for (const waiter of waiters) waiter.wake();
    if (errors.length > 0) throw errors[0];
  }

  /** Last responses go out; who does not take them, or does not close, is cut off. */
  async #drained(): Promise<void> {
    const untilMs = this.loop.time() + flushMs;
    while (this.#sites.some((site) => site.writing) && this.loop.time() < untilMs) await sleep(5);
    await new CancelScope({ timeoutMs: partingMs }).run(() => this.#allGone());
    for (const site of this.#sites) site.abortClients();
    await this.#allGone();
    this.#watch.stop();
  }

  async #allGone(): Promise<void> {
    for (const site of this.#sites) await site.waitClosed();
  }

  async #idle(): Promise<void> {
    if (this.#calls.length === 0) return;
    const waiter = new Waiter<void>('idle');
    this.#idleWaiters.push(waiter);
    await waiter.start();
  }

  waitClosed(options?: WaitOptions): Promise<void> {
    const waiter = new Waiter<void>('waitClosed');
    const promise = waiter.start(options);
    if (!waiter.active) return promise;
    if (this.#closed) waiter.wake();
    else this.#closeWaiters.push(waiter);
    return promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Listens and returns. (aiohttp: AppRunner and sites)
 * `serve({ fetch: hono.fetch, port: 3000 })` serves any fetch handler.
 * Rejects with the system's error (EADDRINUSE …) or what a start-up hook threw; TypeError,
 * RangeError for bad options. Cancelled, nothing stays open.
 */
export async function serve(app: Application, options?: ServeOptions): Promise<HttpServer>;
export async function serve(options: FetchServeOptions): Promise<HttpServer>;
export async function serve(
  first: Application | FetchServeOptions,
  options: ServeOptions = {},
): Promise<HttpServer> {
  const loop = currentLoop();
  if (first instanceof Application) {
    const server = new RunningServer(first, dispatcherOf(first), checkServe(loop, options));
    await server.begin();
    return server;
  }
  const plan = checkServe(loop, first ?? {});
  const { fetch } = first as { fetch: FetchHandler };
  const around = new Application();
  const server = new RunningServer(around, fetchDispatcher(fetch, plan), plan);
  await server.begin();
  return server;
}
