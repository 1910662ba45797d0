/**
 * Takes what a source gives, while something else may end that.
 *
 * In: an iterable of the user, which may stall for ever, or know nothing of scopes. Out: its items.
 * Never: a wait for the source that a time limit, a signal or the end of the connection cannot end.
 */
import type { Awaitable } from '../base/errors.ts';

export class Feeding {
  stopped = false;
  #stop: (() => void) | null = null;

  /** The item that is awaited is not awaited any longer. */
  readonly stop = (): void => {
    this.stopped = true;
    this.#stop?.();
  };

  async all<T>(source: AsyncIterable<T>, take: (item: T) => Awaitable<void>): Promise<void> {
    const iterator = source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const item = this.stopped ? null : await this.#race(iterator.next());
        if (item?.done) return;
        if (item === null || this.stopped) break;
        try {
          await take(item.value);
        } catch (error) {
          await iterator.return?.();
          throw error;
        }
      }
    } finally {
      this.#stop = null;
    }
    // It may come to that only when its next item does: nobody waits.
    if (this.stopped) void Promise.resolve(iterator.return?.()).catch(() => {});
  }

  /** Null: stopped. */
  #race<T>(next: Promise<T>): Promise<T | null> {
    return new Promise((resolve, reject) => {
      this.#stop = () => resolve(null);
      Promise.resolve(next).then(resolve, reject);
    });
  }
}

/** The items of a list, where nothing stalls. */
export async function takeList<T>(
  list: Iterable<T>,
  feeding: Feeding,
  take: (item: T) => Awaitable<void>,
): Promise<void> {
  for (const item of list) {
    if (feeding.stopped) return;
    const taken = take(item);
    if (taken !== undefined) await taken;
  }
}
