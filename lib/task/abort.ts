/**
 * Many listeners to one signal, as one.
 *
 * In: signals, and functions to be called when they abort. Out: the calls, in order. Never: more
 * than one listener at a signal, since Node warns from the eleventh on; one that stays behind.
 */

class Aborts {
  readonly #signal: AbortSignal;
  readonly #calls: Set<() => void> = new Set();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(call: () => void): void {
    if (this.#calls.size === 0) this.#signal.addEventListener('abort', this);
    this.#calls.add(call);
  }

  delete(call: () => void): void {
    if (!this.#calls.delete(call) || this.#calls.size > 0) return;
    this.#signal.removeEventListener('abort', this);
  }

  /** Of the signal. */
  handleEvent(): void {
    for (const call of [...this.#calls]) {
      // One that another one's call has taken back is not called.
      if (this.#calls.has(call)) call();
    }
  }
}

const bySignal: WeakMap<AbortSignal, Aborts> = new WeakMap();

/** Calls `call` when the signal aborts. Give the same function to `offAbort`. */
export function onAbort(signal: AbortSignal, call: () => void): void {
  let aborts = bySignal.get(signal);
  if (aborts === undefined) {
    aborts = new Aborts(signal);
    bySignal.set(signal, aborts);
  }
  aborts.add(call);
}

export function offAbort(signal: AbortSignal, call: () => void): void {
  bySignal.get(signal)?.delete(call);
}
