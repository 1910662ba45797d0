/**
 * An application as a program.
 *
 * In: an application. Out: its service until a signal comes. Never: a request cut off by the first
 * signal; a process that the second one cannot end.
 */
import { argTypeError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { LoopPolicy } from '../io/handles.ts';
import type { WorkerLoad as AnyLoad, WorkerMetrics as AnyMetrics } from '../io/workers/messages.ts';
import { workerMetrics as anyMetrics, type WorkerMetricsOptions } from '../io/workers/metrics.ts';
import { runProgram } from '../io/workers/run-program.ts';
import type { Program, Service } from '../io/workers/service.ts';
import { currentLoop } from '../task/frame.ts';
import { Application } from './application.ts';
import { checkServe, defaultPort, type ServeOptions } from './serve-options.ts';
import { type RunningServer, serve } from './server.ts';

export interface RunAppOptions extends ServeOptions {
  policy?: LoopPolicy;
  /** Default ['SIGINT', 'SIGTERM']. */
  handleSignals?: readonly NodeJS.Signals[] | false;
  /** Gets the start message. Default console.log; null for silence. */
  print?: ((text: string) => void) | null;
  /**
   * How long kept connections are served on when a signal came, so that no request is lost that is
   * on its way; see `HttpServer.close`. Default 100.
   */
  drainMs?: number;
  /**
   * Threads that run the program's file again, from its beginning, and serve there; 'auto' is one
   * for each core. The system spreads connections over them: each listens on the port for itself
   * (ENOTSUP where `reusePort` is), or all share the socket of `path` or `fd` (ENOTSUP on `pure`).
   * The main thread serves nothing: it starts workers that died again, tells all of them
   * to close at a signal, and waits for them. Default 1: no threads.
   */
  workers?: number | 'auto';
}

const defaultDrainMs = 100;

/** What one worker of `runApp` does now. */
export interface WorkerLoad extends AnyLoad {
  /** Requests being handled. */
  readonly requests: number;
  /** Requests handled since it began to serve. */
  readonly served: number;
}

export type WorkerMetrics = AnyMetrics<WorkerLoad>;

/**
 * Figures of each worker of `runApp`, in order, asked from the program's main thread or from any
 * of its workers, so that one route tells about all. A program with `workers: 1` has one; none
 * when nothing is served. Takes `timeoutMs` at most: a worker that is too busy has no load then.
 */
export async function workerMetrics(
  options: WorkerMetricsOptions = {},
): Promise<readonly WorkerMetrics[]> {
  return (await anyMetrics(options)) as readonly WorkerMetrics[];
}

class AppService implements Service {
  readonly #server: RunningServer;
  readonly #drainMs: number;

  constructor(server: RunningServer, drainMs: number) {
    this.#server = server;
    this.#drainMs = drainMs;
  }

  get port(): number {
    return this.#server.port;
  }

  get url(): string {
    return this.#server.url;
  }

  load(): WorkerLoad {
    const { connections, requests, served, loop } = this.#server;
    return { connections, requests, served, loop: loop.metrics() };
  }

  close(): Promise<void> {
    return this.#server.close({ drainMs: this.#drainMs });
  }
}

function programOf(app: Application, plan: RunAppOptions, drainMs: number): Program<ServeOptions> {
  const { port = defaultPort, fd, path, handleSignals, print } = plan;
  // The main thread tries the port that the workers are to have.
  const options = fd === undefined && path === undefined ? { ...plan, port } : plan;
  return {
    name: 'runApp()',
    options,
    handleSignals,
    print,
    closeMs: () => drainMs + checkServe(currentLoop(), plan).shutdownTimeoutMs,
    serve: async (place) => new AppService((await serve(app, place)) as RunningServer, drainMs),
  };
}

/**
 * Serves until cancelled or a signal comes, then closes gracefully. Starts a run if none is.
 * Rejects as `serve` does; with workers, with the error of one that could not start at first, or
 * BrokenResourceError when none serves any more, and each has died five times in a row.
 * InvalidStateError for workers of a program that is no file. (aiohttp.web.run_app; gunicorn)
 */
export async function runApp(
  app: Application | Promise<Application>,
  options: RunAppOptions = {},
): Promise<void> {
  const { workers = 1, policy } = options;
  const drainMs = checkMs('drainMs', options.drainMs ?? defaultDrainMs);
  await runProgram(workers, policy, async () => {
    const made = await app;
    if (!(made instanceof Application)) throw argTypeError('app', 'an Application', made);
    return programOf(made, options, drainMs);
  });
}
