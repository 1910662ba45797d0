/**
 * A server of connections or protocols as a program, on one core or on several.
 *
 * In: a function that makes the server. Out: its service until a signal comes. Never: a connection
 * cut off by the first signal before its time is up.
 */
import { argTypeError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { LoopPolicy } from '../loop/policy.ts';
import { currentLoop } from '../task/frame.ts';
import { moveOnAfter, shielded } from '../task/scope.ts';
import { makeLimits } from './limits.ts';
import { checkListen } from './listen.ts';
import type { ListenOptions, Server, SocketAddress } from './net-types.ts';
import { StreamServer } from './server.ts';
import type { WorkerLoad } from './workers/messages.ts';
import { runProgram } from './workers/run-program.ts';
import type { Program, Service } from './workers/service.ts';

export interface RunServerOptions extends Omit<ListenOptions, 'start' | 'path'> {
  /** A UNIX socket instead of host and port. */
  path?: string;
  policy?: LoopPolicy;
  /** Default ['SIGINT', 'SIGTERM']. */
  handleSignals?: readonly NodeJS.Signals[] | false;
  /** Gets the start message. Default console.log; null for silence. */
  print?: ((text: string) => void) | null;
  /** For open connections to end, before their handlers are cancelled. Default 60_000. */
  shutdownTimeoutMs?: number;
  /**
   * Threads that run the program's file again, from its beginning, and serve there; 'auto' is one
   * for each core. The system spreads connections over them: each listens on the port for itself
   * (ENOTSUP where `reusePort` is), or all share the socket of `path` or `fd` (ENOTSUP on `pure`).
   * The main thread serves nothing: it starts workers that died again, tells all of them
   * to close at a signal, and waits for them. Default 1: no threads.
   */
  workers?: number | 'auto';
}

/**
 * Makes the server, in each thread that serves.
 * @param listen to be handed to `startServer`, `loop.createServer` …
 * @param stopping aborts when the server is to end: who keeps connections ends them then
 */
export type MakeServer = (listen: ListenOptions, stopping: AbortSignal) => Promise<Server>;

/** For what is buffered to go out once handlers are cancelled. Milliseconds. */
const flushMs = 1_000;

function urlOf({ addresses, tls }: StreamServer): string {
  const { address, family, port } = addresses[0] as SocketAddress;
  if (family === 'unix') return `unix:${address.replace('\0', '@')}`;
  const host = family === 'IPv6' ? `[${address}]` : address;
  return `${tls === null ? 'tcp' : 'tls'}://${host}:${port}`;
}

class ServerService implements Service {
  readonly #server: StreamServer;
  readonly #stopping: AbortController;
  readonly #shutdownTimeoutMs: number;

  constructor(server: StreamServer, stopping: AbortController, shutdownTimeoutMs: number) {
    this.#server = server;
    this.#stopping = stopping;
    this.#shutdownTimeoutMs = shutdownTimeoutMs;
  }

  get port(): number {
    return this.#server.port;
  }

  get url(): string {
    return urlOf(this.#server);
  }

  load(): WorkerLoad {
    const { connections, loop } = this.#server;
    return { connections, loop: loop.metrics() };
  }

  close(): Promise<void> {
    return shielded(() => this.#end());
  }

  async #end(): Promise<void> {
    const server = this.#server;
    server.close();
    this.#stopping.abort();
    await moveOnAfter(this.#shutdownTimeoutMs, () => server.waitClosed());
    await moveOnAfter(flushMs, () => server[Symbol.asyncDispose]());
  }
}

async function makeService(
  make: MakeServer,
  listen: ListenOptions,
  shutdownTimeoutMs: number,
): Promise<Service> {
  const stopping = new AbortController();
  const server: unknown = await make(listen, stopping.signal);
  if (!(server instanceof StreamServer)) {
    throw argTypeError('make', 'a function that gives the promise of a server', server);
  }
  return new ServerService(server, stopping, shutdownTimeoutMs);
}

function programOf(make: MakeServer, options: RunServerOptions): Program<ListenOptions> {
  const { policy: _, handleSignals, print, workers: __, ...others } = options;
  const { shutdownTimeoutMs: given = 60_000, ...listen } = others;
  const shutdownTimeoutMs = checkMs('shutdownTimeoutMs', given);
  return {
    name: 'runServer()',
    options: listen,
    handleSignals,
    print,
    closeMs: () => {
      checkListen(currentLoop(), listen);
      makeLimits(listen);
      return shutdownTimeoutMs + flushMs;
    },
    serve: (place) => makeService(make, place, shutdownTimeoutMs),
  };
}

/**
 * Serves until cancelled or a signal comes: stops listening, aborts `stopping`, waits for the open
 * connections, cancels the handlers that are left, and ends. Starts a run if none is.
 *
 *     await runServer((listen) => startServer(handler, listen), { port: 7000, workers: 'auto' });
 *
 * Rejects as `make` does; with workers, with the error of one that could not start at first, or
 * BrokenResourceError when none serves any more, and each has died five times in a row.
 * InvalidStateError for workers of a program that is no file.
 * (asyncio: serve_forever; node:cluster)
 */
export async function runServer(make: MakeServer, options: RunServerOptions = {}): Promise<void> {
  if (typeof make !== 'function') throw argTypeError('make', 'a function', make);
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { workers = 1, policy } = options;
  await runProgram(workers, policy, async () => programOf(make, options));
}
