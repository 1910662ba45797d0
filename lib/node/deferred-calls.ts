/**
 * Calls of a sink by a handle that stands on foreign streams, which call back whenever they like.
 *
 * In: calls to be made. Out: the calls, in order. Never: one from inside a call that io made to the
 * handle.
 */

export class DeferredCalls {
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  /** Runs what io asked for. Calls that it causes come in the next tick. */
  inside<T>(work: () => T): T {
    this.#inside++;
    try {
      return work();
    } finally {
      this.#inside--;
    }
  }

  /** Now, or in the next tick. */
  call(work: () => void): void {
    if (this.#inside === 0 && this.#waiting.length === 0) work();
    else this.later(work);
  }

  later(work: () => void): void {
    if (this.#waiting.push(work) === 1) process.nextTick(() => this.#run());
  }

  #run(): void {
    // What these calls cause joins the end, and is run, too.
    for (const work of this.#waiting) work();
    this.#waiting.length = 0;
  }
}
