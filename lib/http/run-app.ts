/**
 * An application as a program.
 *
 * In: an application. Out: its service until a signal comes. Never: a request cut off by the first
 * signal; a process that the second one cannot end.
 */
import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { argTypeError, InvalidStateError, notSupportedError } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import type { LoopPolicy } from '../io/handles.ts';
import type { StreamServer } from '../io/server.ts';
import { startServer, startUnixServer } from '../io/start-server.ts';
import { currentFrame, currentLoop } from '../task/frame.ts';
import { handledSignals, run } from '../task/run.ts';
import { Waiter } from '../task/waiter.ts';
import { Application } from './application.ts';
import { checkServe, type ServeOptions } from './serve-options.ts';
import { type RunningServer, serve } from './server.ts';
import { Crew } from './workers/crew.ts';
import { serveAsWorker, workerOrder } from './workers/member.ts';
import { addMetricsSource, SoleWorker } from './workers/metrics.ts';

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
const defaultSignals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

/** Waits for the first of some signals; a second one ends the process as it always does. */
class SignalWaiter extends Waiter<void> {
  readonly #signals: readonly NodeJS.Signals[];

  constructor(signals: readonly NodeJS.Signals[]) {
    super('signal');
    this.#signals = signals.filter((signal) => !handledSignals.has(signal));
    for (const signal of this.#signals) {
      handledSignals.add(signal);
      process.on(signal, this.#onSignal);
    }
  }

  stop(): void {
    for (const signal of this.#signals) {
      handledSignals.delete(signal);
      process.off(signal, this.#onSignal);
    }
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.active) {
      this.wake();
      return;
    }
    this.stop();
    process.kill(process.pid, signal);
  };
}

/** Checked, with its defaults. */
interface RunPlan extends RunAppOptions {
  drainMs: number;
}

type Serve = (app: Application, plan: RunPlan) => Promise<void>;

async function untilSignal(
  { handleSignals = defaultSignals, signal }: RunAppOptions,
  body: (stop: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const waiter = new SignalWaiter(handleSignals === false ? [] : handleSignals);
  try {
    await body(() => waiter.start(signal === undefined ? {} : { signal }));
  } finally {
    waiter.stop();
  }
}

async function serveAlone(app: Application, plan: RunPlan): Promise<void> {
  const { print = console.log, drainMs } = plan;
  await untilSignal(plan, async (stop) => {
    const server = (await serve(app, plan)) as RunningServer;
    try {
      using _ = addMetricsSource(new SoleWorker(server));
      print?.(`Running on ${server.url}`);
      await stop();
    } finally {
      await server.close({ drainMs });
    }
  });
}

/**
 * What the main thread listens on for its workers: a socket they share, or, when each has its own,
 * nothing. Then the port is tried: somebody else's could be shared by mistake, if they allow it.
 */
async function openShared(options: ServeOptions): Promise<StreamServer | null> {
  const { host, port = 8080, path, fd, backlog, reusePort } = options;
  const given = {
    ...(fd === undefined ? {} : { fd }),
    ...(backlog === undefined ? {} : { backlog }),
  };
  const common = { start: false, ...given };
  if (path !== undefined) return (await startUnixServer(() => {}, path, common)) as StreamServer;
  if (fd !== undefined) return (await startServer(() => {}, common)) as StreamServer;
  if (port === 0 || reusePort === true) return null;
  const where = host === undefined ? { port } : { host, port };
  const server = await startServer(() => {}, { start: false, ...where });
  server.close();
  await server.waitClosed();
  return null;
}

let supervised = false;

/** @throws InvalidStateError the second time, and in threads that are no workers of ours */
function superviseOnce(): void {
  if (!isMainThread) throw new InvalidStateError('Workers are started by the main thread');
  if (supervised)
    throw new InvalidStateError('runApp() with workers can be called once in a program');
  supervised = true;
}

async function superviseWorkers(plan: RunPlan, count: number): Promise<void> {
  const { print = console.log, drainMs } = plan;
  const loop = currentLoop();
  const { shutdownTimeoutMs } = checkServe(loop, plan);
  if (loop.backendHandle.listenFd === undefined) {
    throw notSupportedError('listen', `threads share no port of ${loop.backendHandle.name}`);
  }
  superviseOnce();
  const shared = await openShared(plan);
  const crew = new Crew(count, drainMs + shutdownTimeoutMs, shared?.descriptor ?? null);
  try {
    await untilSignal(plan, (stop) =>
      crew.run(
        () => print?.(`Running on ${crew.url} with ${count} workers`),
        // The last one to close is a worker, which has accepted what was waiting.
        () => stop().finally(() => shared?.close()),
      ),
    );
  } finally {
    shared?.close();
  }
}

/** How this thread is to serve. */
function chooseServe(workers: unknown): Serve {
  const count = workers === 'auto' ? availableParallelism() : checkInteger('workers', workers, 1);
  if (count === 1) return serveAlone;
  const order = workerOrder();
  if (order !== null) return (app, plan) => serveAsWorker(app, plan, plan.drainMs, order);
  return (_app, plan) => superviseWorkers(plan, count);
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
  const serveApp = chooseServe(workers);
  const drainMs = checkMs('drainMs', options.drainMs ?? defaultDrainMs);
  const main = async (): Promise<void> => {
    const made = await app;
    if (!(made instanceof Application)) throw argTypeError('app', 'an Application', made);
    await serveApp(made, { ...options, drainMs });
  };
  if (currentFrame() !== undefined) await main();
  else await run(main, { ...(policy === undefined ? {} : { policy }), handleSignals: false });
}
