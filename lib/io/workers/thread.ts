/**
 * One worker thread, as its supervisor sees it.
 *
 * In: an order, requests for figures. Out: what becomes of the thread. Never: a thread that is left
 * behind: `end()` resolves when it is gone, however stubborn it is.
 */
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import { InvalidStateError } from '../../base/errors.ts';
import { moveOnAfter } from '../../task/scope.ts';
import { Waiter } from '../../task/waiter.ts';
import {
  type FromWorker,
  orderKey,
  type ToWorker,
  type WorkerLoad,
  type WorkerMetrics,
  type WorkerOrder,
} from './messages.ts';

/** For a worker that has not begun to serve to hear that it is to stop. Milliseconds. */
const startingMs = 1_000;
/** Beyond the time for handlers: for last bytes and hooks, and for the program's own end. */
const marginMs = 2_000;

export interface ThreadOwner {
  onServing(thread: WorkerThread, port: number, url: string): void;
  onAskAll(thread: WorkerThread, id: number, timeoutMs: number): void;
}

/** What the main thread runs. */
function programFile(): string {
  const [, file] = process.argv;
  if (file !== undefined) return file;
  throw new InvalidStateError('Workers run the file of the program again, and there is none');
}

export class WorkerThread {
  readonly worker: number;
  /** It has served, if only for a moment. */
  served = false;
  exited = false;
  readonly #owner: ThreadOwner;
  readonly #thread: Worker;
  readonly #port: MessagePort;
  #closed = false;
  #thrown: { error: unknown } | null = null;
  #exitCode = 0;
  readonly #waiters: Set<Waiter<void>> = new Set();
  #lastId = 0;
  readonly #asked: Map<number, (load: WorkerLoad) => void> = new Map();

  constructor(owner: ThreadOwner, worker: number, place: Pick<WorkerOrder, 'port' | 'fd'>) {
    this.worker = worker;
    this.#owner = owner;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const order: WorkerOrder = { worker, ...place, channel: port2 };
    this.#thread = new Worker(programFile(), {
      argv: process.argv.slice(2),
      name: `uvio worker ${worker}`,
      workerData: { [orderKey]: order },
      transferList: [port2],
    });
    port1.on('message', (message: FromWorker) => this.#onMessage(message));
    this.#thread.on('error', (error) => {
      this.#thrown ??= { error };
    });
    this.#thread.on('exit', (code) => this.#onExit(code));
  }

  /** Why it ended. */
  get failure(): unknown {
    if (this.#thrown !== null) return this.#thrown.error;
    const when = this.served ? '' : ' before it served';
    return new Error(`Worker ${this.worker} ended with exit code ${this.#exitCode}${when}`);
  }

  /** It threw, and did not just end. */
  get threw(): boolean {
    return this.#thrown !== null;
  }

  /** Until the thread is gone. */
  async gone(): Promise<void> {
    await this.#until(() => this.exited);
  }

  /**
   * Asks it to close its server and to end; ends it when either takes too long.
   * @param closeMs for each of the two
   */
  async end(closeMs: number): Promise<'asked' | 'forced'> {
    if (this.exited) return 'asked';
    this.#send({ kind: 'stop' });
    const limitMs = closeMs + marginMs;
    const firstMs = this.served ? limitMs : startingMs;
    await moveOnAfter(firstMs, () => this.#until(() => this.#closed));
    if (this.#closed) await moveOnAfter(limitMs, () => this.gone());
    if (this.exited) return 'asked';
    void this.#thread.terminate();
    await this.gone();
    return 'forced';
  }

  /** Calls `answer` if and when the worker answers. */
  ask(answer: (load: WorkerLoad) => void): void {
    const id = ++this.#lastId;
    this.#asked.set(id, answer);
    this.#send({ kind: 'ask', id });
  }

  answerAll(id: number, list: readonly WorkerMetrics[]): void {
    this.#send({ kind: 'all', id, list });
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const waiter = new Waiter<void>('worker');
      this.#waiters.add(waiter);
      try {
        await waiter.start();
      } finally {
        this.#waiters.delete(waiter);
      }
    }
  }

  #changed(): void {
    for (const waiter of this.#waiters) waiter.wake();
  }

  #send(message: ToWorker): void {
    if (!this.exited) this.#port.postMessage(message);
  }

  #onMessage(message: FromWorker): void {
    if (message.kind === 'serving') {
      this.served = true;
      this.#owner.onServing(this, message.port, message.url);
    } else if (message.kind === 'closed') {
      this.#closed = true;
      this.#changed();
    } else if (message.kind === 'load') {
      const answer = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      answer?.(message.load);
    } else {
      this.#owner.onAskAll(this, message.id, message.timeoutMs);
    }
  }

  #onExit(code: number): void {
    // What it said last may come after the news of its end.
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: FromWorker } | undefined;
      if (received === undefined) break;
      this.#onMessage(received.message);
    }
    this.#exitCode = code;
    this.#closed = true;
    this.exited = true;
    this.#port.close();
    this.#changed();
  }
}
