/**
 * Steps of several tasks, put in order by hand.
 *
 * In: positions. Out: the right to go on, one position after the other. Never: a position twice.
 */
import { InvalidStateError } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { Waiter } from '../task/waiter.ts';

class TurnWaiter extends Waiter<Disposable> {
  readonly #onCancel: () => void;

  constructor(position: number, onCancel: () => void) {
    super(`sequencer.at(${position})`);
    this.#onCancel = onCancel;
  }

  override onCancel(): void {
    this.#onCancel();
  }
}

/**
 * Puts steps of several tasks in order, from position 0 on:
 *
 *     using _ = await sequencer.at(2);   // goes on when the block of position 1 has been left
 *
 * Each position is used once; a second time is an InvalidStateError. When a wait for a position is
 * cancelled, the sequence is broken: all other positions are an InvalidStateError from then on.
 * (trio.testing.Sequencer)
 */
export class Sequencer {
  readonly #used: Set<number> = new Set();
  readonly #waiting: Map<number, Waiter<Disposable>> = new Map();
  /** Whose turn it is. */
  #next = 0;
  #broken = false;

  /** Waits for its turn. RangeError for a position that is no whole number from 0 on. */
  async at(position: number): Promise<Disposable> {
    checkInteger('position', position);
    if (this.#broken) throw new InvalidStateError('The sequence is broken');
    if (this.#used.has(position)) {
      throw new InvalidStateError(`Position ${position} of the sequence was used before`);
    }
    this.#used.add(position);
    if (this.#next === position) return this.#turn(position);
    const waiter = new TurnWaiter(position, () => {
      this.#waiting.delete(position);
      this.#break();
    });
    const promise = waiter.start();
    // Refused, because the task is cancelled: nobody will take the position.
    if (waiter.active) this.#waiting.set(position, waiter);
    else this.#break();
    return await promise;
  }

  #turn(position: number): Disposable {
    let left = false;
    return {
      [Symbol.dispose]: (): void => {
        if (left) return;
        left = true;
        this.#next = position + 1;
        const waiter = this.#waiting.get(this.#next);
        this.#waiting.delete(this.#next);
        waiter?.wake(this.#turn(this.#next));
      },
    };
  }

  #break(): void {
    this.#broken = true;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiter of waiting) waiter.fail(new InvalidStateError('The sequence is broken'));
  }
}
