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
import {
  type FromWorker,
  orderKey,
  type ToWorker,
  type WorkerMetrics,
  type WorkerOrder,
} from './messages.ts';
import { addMetricsSource, type MetricsSource } from './metrics.ts';
import type { PlaceOptions, Program, Service } from './service.ts';

/** Added to what an asker allows: the supervisor keeps to that, and then its answer travels. */
const travelMs = 500;

let taken = false;

export function onceOnly(name: string): string {
  return `${name} with workers can be called once in a program`;
}

/** The order of this thread, if it was started as a worker. */
export function workerOrder(): WorkerOrder | null {
  return (workerData as { [orderKey]?: WorkerOrder } | null)?.[orderKey] ?? null;
}

class Member extends Waiter<void> implements MetricsSource {
  readonly #order: WorkerOrder;
  readonly #loop = currentLoop();
  #service: Service | null = null;
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

  async serve(program: Program): Promise<void> {
    const { signal } = program.options;
    let service: Service | null = null;
    try {
      service = await program.serve(this.#shared(program.options));
      this.#service = service;
      using _ = addMetricsSource(this);
      this.#tell({ kind: 'serving', port: service.port, url: service.url });
      if (!this.#stopped) await this.start(signal === undefined ? {} : { signal });
    } finally {
      await service?.close();
      this.#service = null;
      this.#tell({ kind: 'closed' });
    }
  }

  #shared(options: PlaceOptions): PlaceOptions {
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
    } else if (this.#service !== null) {
      this.#tell({ kind: 'load', id: message.id, load: this.#service.load() });
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
export async function serveAsWorker(program: Program, order: WorkerOrder): Promise<void> {
  if (taken) throw new InvalidStateError(onceOnly(program.name));
  taken = true;
  await new Member(order).serve(program);
}
