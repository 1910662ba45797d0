/**
 * How much a loop does in one turn of Node: turns of its own, and jobs in them.
 *
 * In: what runs, and that an event of the network came. Out: whether another turn may follow.
 * Never: a clock, which would cost more than a short job.
 *
 * A turn of Node costs 3 to 5 microseconds, a turn of ours with one job a tenth of it: so many of
 * ours follow one another, unless somebody waits for the network, to whom each of them is time
 * lost (bench/micro/fairness.mjs).
 */

/** As long as the network is quiet. */
const mostTurns = 128;
const mostJobs = 256;
/** What leaves a round trip beside tasks that never rest its time. */
const fewTurns = 16;
const fewJobs = 64;
/** So many turns of Node without an event are quiet: a millisecond of tasks that never rest. */
const quietAfter = 128;

export class TurnBudget {
  #turns = 0;
  #jobs = 0;
  #turnLimit: number = mostTurns;
  #jobLimit: number = mostJobs;
  /** Turns of Node since the last event. */
  #since = 0;

  /** Whether another turn may come before the backend's next one. */
  get left(): boolean {
    return this.#turns < this.#turnLimit && this.#jobs < this.#jobLimit;
  }

  addTurn(): void {
    this.#turns++;
  }

  addJobs(count: number): void {
    this.#jobs += count;
  }

  /** The backend's turn comes next. */
  end(): void {
    this.#turns = this.#turnLimit;
  }

  /** The backend's turn has come. */
  renew(): void {
    this.#turns = 0;
    this.#jobs = 0;
    if (this.#since === quietAfter) return;
    if (++this.#since < quietAfter) return;
    this.#turnLimit = mostTurns;
    this.#jobLimit = mostJobs;
  }

  /** An event of the network came. */
  ioCame(): void {
    this.#since = 0;
    this.#turnLimit = fewTurns;
    this.#jobLimit = fewJobs;
  }
}
