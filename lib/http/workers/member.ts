/**
 * One worker, in its own thread: serves until it is told to stop.
 *
 * In: the order that the thread was started with. Out: a server on the shared port, answers to the
 * supervisor. Never: a signal of the process; Node gives those to the main thread.
 */
import { workerData } from 'node:worker_threads';
import { InvalidStateError } from '../../base/errors.ts';
import { currentLoop } from '../../task/frame.ts';
import { Waiter } from '../../task/waiter.ts';
import type { Application } from '../application.ts';
import type { ServeOptions } from '../serve-options.ts';
import { type RunningServer, serve } from '../server.ts';
import {
  type FromWorker,
  orderKey,
  type ToWorker,
  type WorkerMetrics,
  type WorkerOrder,
} from './messages.ts';
import { addMetricsSource, loadOf, type MetricsSource } from './metrics.ts';

/** Added to what an asker allows: the supervisor keeps to that, and then its answer travels. */
const travelMs = 500;

let taken = false;

/** The order of this thread, if it was started as a worker. */
export function workerOrder(): WorkerOrder | null {
  return (workerData as { [orderKey]?: WorkerOrder } | null)?.[orderKey] ?? null;
}

class Member extends Waiter<void> implements MetricsSource {
  readonly #order: WorkerOrder;
  readonly #loop = currentLoop();
  #server: RunningServer | null = null;
  #stopped = false;
  #lastId = 0;
  readonly #asked: Map<number, (list: readonly WorkerMetrics[]) => void> = new Map();

  constructor(order: WorkerOrder) {
    super('stop');
    this.#order = order;
    order.channel.on('message', (message: ToWorker) => this.#onMessage(message));
    // The run keeps the thread alive; after it the program may end.
    order.channel.unref();
  }

  async serve(app: Application, options: ServeOptions, drainMs: number): Promise<void> {
    const { signal } = options;
    let server: RunningServer | null = null;
    try {
      server = (await serve(app, this.#shared(options))) as RunningServer;
      this.#server = server;
      using _ = addMetricsSource(this);
      this.#tell({ kind: 'serving', port: server.port, url: server.url });
      if (!this.#stopped) await this.start(signal === undefined ? {} : { signal });
    } finally {
      await server?.close({ drainMs });
      this.#server = null;
      this.#tell({ kind: 'closed' });
    }
  }

  #shared(options: ServeOptions): ServeOptions {
    const { fd, port } = this.#order;
    if (fd !== null) {
      const { host: _host, port: _port, path: _path, ...others } = options;
      return { ...others, fd, shareFd: true };
    }
    return { ...options, ...(port === null ? {} : { port }), reusePort: true };
  }

  #tell(message: FromWorker): void {
    this.#order.channel.postMessage(message);
  }

  #onMessage(message: ToWorker): void {
    if (message.kind === 'stop') {
      this.#stopped = true;
      this.wake();
    } else if (message.kind === 'all') {
      this.#asked.get(message.id)?.(message.list);
    } else if (this.#server !== null) {
      this.#tell({ kind: 'load', id: message.id, load: loadOf(this.#server) });
    }
  }

  collect(timeoutMs: number, tell: (list: readonly WorkerMetrics[]) => void): void {
    const id = ++this.#lastId;
    const answer = (list: readonly WorkerMetrics[]): void => {
      timer.cancel();
      this.#asked.delete(id);
      tell(list);
    };
    const timer = this.#loop.callLater(timeoutMs + travelMs, answer, []);
    this.#asked.set(id, answer);
    this.#tell({ kind: 'askAll', id, timeoutMs });
  }
}

/** @throws InvalidStateError the second time: a worker is one of one supervisor */
export async function serveAsWorker(
  app: Application,
  options: ServeOptions,
  drainMs: number,
  order: WorkerOrder,
): Promise<void> {
  if (taken) throw new InvalidStateError('runApp() with workers can be called once in a program');
  taken = true;
  await new Member(order).serve(app, options, drainMs);
}
