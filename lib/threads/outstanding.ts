/**
 * Counts what goes on, for those who wait for its end.
 *
 * In: add, remove. Out: a promise of none being left. Never: more ends than begins.
 */
export class Outstanding {
  #count = 0;
  #waiting: (() => void)[] = [];

  add(): void {
    this.#count++;
  }

  remove(): void {
    if (--this.#count > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  none(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
