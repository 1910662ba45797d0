/**
 * For resources that allow one user at a time.
 *
 * In: `enter()`. Out: an error for whoever comes second. Never: a wait.
 */
import { argTypeError, BusyResourceError } from '../base/errors.ts';

/**
 * Turns use by two tasks at once into BusyResourceError: a second use is a bug of the program, not
 * something to wait for. The same task entering twice counts as two. (anyio.ResourceGuard)
 */
export class ResourceGuard {
  readonly #action: string;
  #user: Use | null = null;

  /** @param action for the message: "Another task is already … this resource". */
  constructor(action: string = 'using') {
    if (typeof action !== 'string') throw argTypeError('action', 'a string', action);
    this.#action = action;
  }

  /** `using _ = guard.enter()`; BusyResourceError until the first user's is disposed. */
  enter(): Disposable {
    if (this.#user !== null) {
      throw new BusyResourceError(`Another task is already ${this.#action} this resource`);
    }
    this.#user = new Use(this);
    return this.#user;
  }

  /** @internal */
  leave(use: Use): void {
    if (this.#user === use) this.#user = null;
  }
}

class Use implements Disposable {
  readonly #guard: ResourceGuard;

  constructor(guard: ResourceGuard) {
    this.#guard = guard;
  }

  [Symbol.dispose](): void {
    this.#guard.leave(this);
  }
}
