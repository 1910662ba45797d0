/**
 * The supervisor of workers: one task each, which starts its thread, and again when that died.
 *
 * In: how many, and how long they may take. Out: workers that serve until the tasks are cancelled.
 * Never: a request: those are the workers' own; a thread that outlives `run`.
 */
import { BrokenResourceError, ExceptionGroup } from '../../base/errors.ts';
import { currentLoop } from '../../task/frame.ts';
import { type TaskGroup, type TaskStatus, taskGroup } from '../../task/group.ts';
import { shielded } from '../../task/scope.ts';
import { sleep } from '../../task/sleep.ts';
import type { WorkerLoad, WorkerMetrics } from './messages.ts';
import { addMetricsSource, type MetricsSource } from './metrics.ts';
import { type ThreadOwner, WorkerThread } from './thread.ts';

/** Between a death and the next start; doubled for each short life, up to the second. */
const firstDelayMs = 100;
const maxDelayMs = 10_000;
/** A worker that served for so long is well again. */
const longLifeMs = 10_000;
/** Short lives in a row that each worker may have, when none serves any more. */
const maxShortLives = 5;

/** One of the workers, whichever thread it is. */
class Post {
  readonly worker: number;
  state: WorkerMetrics['state'] = 'starting';
  thread: WorkerThread | null = null;
  restarts = 0;
  /** In a row. */
  shortLives = 0;
  servingSinceMs = 0;
  /** Of its first start, until it serves. */
  status: TaskStatus<void> | null = null;

  constructor(worker: number) {
    this.worker = worker;
  }
}

export class Crew implements ThreadOwner, MetricsSource {
  readonly #loop = currentLoop();
  readonly #count: number;
  readonly #closeMs: number;
  readonly #fd: number | null;
  readonly #posts: Post[] = [];
  #port: number | null = null;
  /** Where they serve. */
  url = '';

  /**
   * @param closeMs for servers to close
   * @param fd of a socket that all share; null for one of each, on the same port
   */
  constructor(count: number, closeMs: number, fd: number | null) {
    this.#count = count;
    this.#closeMs = closeMs;
    this.#fd = fd;
  }

  /**
   * Until cancelled, or `stop` resolves; `ready` is called when all serve. The first start of each
   * must succeed. Rejects with the error of a worker.
   */
  async run(ready: () => void, stop: () => Promise<void>): Promise<void> {
    using _ = addMetricsSource(this);
    try {
      await taskGroup(async (group) => {
        group.createTask({ name: 'stop of workers' }, async () => {
          await stop();
          group.cancel();
        });
        await this.#startAll(group);
        ready();
      });
    } catch (error) {
      throw error instanceof ExceptionGroup && error.errors.length === 1 ? error.errors[0] : error;
    }
  }

  /** The first one may choose the port, and finds out for all whether they can start. */
  async #startAll(group: TaskGroup): Promise<void> {
    const startOne = async (worker: number): Promise<void> => {
      const post = new Post(worker);
      this.#posts.push(post);
      await group.start((status: TaskStatus<void>) => this.#keep(post, status));
    };
    await startOne(1);
    await Promise.all(Array.from({ length: this.#count - 1 }, (_, index) => startOne(index + 2)));
  }

  async #keep(post: Post, status: TaskStatus<void>): Promise<never> {
    post.status = status;
    for (;;) {
      await this.#liveOnce(post);
      const delayMs = Math.min(firstDelayMs * 2 ** (post.shortLives - 1), maxDelayMs);
      this.#report(post, delayMs);
      post.state = 'waiting';
      await sleep(delayMs);
      post.restarts++;
    }
  }

  /** From the start of a thread to its death, or to the end of this task and of the thread. */
  async #liveOnce(post: Post): Promise<void> {
    post.state = 'starting';
    const thread = new WorkerThread(this, post.worker, { port: this.#port, fd: this.#fd });
    post.thread = thread;
    try {
      await thread.gone();
    } finally {
      if (!thread.exited) await this.#end(post, thread);
    }
    const lifeMs = thread.served ? this.#loop.time() - post.servingSinceMs : 0;
    post.shortLives = lifeMs >= longLifeMs ? 1 : post.shortLives + 1;
    if (post.status !== null) throw thread.failure;
    if (this.#isLost(post)) {
      const message = 'No worker serves any more: all of them died again and again';
      throw new BrokenResourceError(message, { cause: thread.failure });
    }
  }

  async #end(post: Post, thread: WorkerThread): Promise<void> {
    const { worker } = post;
    post.state = 'stopping';
    const how = await shielded(() => thread.end(this.#closeMs));
    if (how === 'forced') this.#warn(`Worker ${worker} did not end in time and was stopped`);
    if (!thread.threw) return;
    const message = `Worker ${worker} failed as it ended`;
    this.#loop.callExceptionHandler({ message, error: thread.failure });
  }

  #isLost(dead: Post): boolean {
    const isLost = (post: Post): boolean =>
      (post === dead || post.state !== 'serving') && post.shortLives >= maxShortLives;
    return this.#posts.every(isLost);
  }

  #report(post: Post, delayMs: number): void {
    const { failure, threw } = post.thread as WorkerThread;
    const what = threw ? `Worker ${post.worker} died` : (failure as Error).message;
    const message = `${what}; it starts again in ${delayMs} ms`;
    if (threw) this.#loop.callExceptionHandler({ message, error: failure });
    else this.#warn(message);
  }

  /** Without an error, since the exit code stays what it is. */
  #warn(message: string): void {
    this.#loop.callExceptionHandler({ message });
  }

  onServing(thread: WorkerThread, port: number, url: string): void {
    const post = this.#posts[thread.worker - 1] as Post;
    this.#port = port;
    this.url = url;
    if (post.state === 'starting') post.state = 'serving';
    post.servingSinceMs = this.#loop.time();
    post.status?.started();
    post.status = null;
  }

  onAskAll(thread: WorkerThread, id: number, timeoutMs: number): void {
    this.collect(timeoutMs, (list) => thread.answerAll(id, list));
  }

  collect(timeoutMs: number, tell: (list: readonly WorkerMetrics[]) => void): void {
    const posts = [...this.#posts];
    const loads: Map<Post, WorkerLoad> = new Map();
    const asked = posts.filter((post) => post.state === 'serving');
    let told = false;
    const finish = (): void => {
      if (told) return;
      told = true;
      timer.cancel();
      tell(posts.map((post) => metricsOf(post, loads.get(post) ?? null)));
    };
    const timer = this.#loop.callLater(asked.length === 0 ? 0 : timeoutMs, finish);
    for (const post of asked) {
      post.thread?.ask((load) => {
        loads.set(post, load);
        if (loads.size === asked.length) finish();
      });
    }
  }
}

function metricsOf(post: Post, load: WorkerLoad | null): WorkerMetrics {
  const { worker, state, restarts } = post;
  return { worker, state, restarts, load };
}
