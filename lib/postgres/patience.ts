/**
 * How long the answers of many queries are left to the kernel.
 *
 * In: what is in flight, and how long each of their answers was before. Out: the number of bytes
 * that are worth waking for. Never: an answer that is kept back for more than a millisecond; a wait
 * for bytes behind the answer of something whose length is not known.
 *
 * The server sends after each Sync: of 100 queries in one write the answers would come by up to 70
 * reads, each with a sleep, which costs more than all else that such a query needs.
 */
import type { Transport } from '../io/protocols.ts';
import type { currentLoop } from '../task/frame.ts';

/** With fewer in flight there is little to gain. */
const leastInFlight = 8;
/** Larger reads cost no less, and the kernel must have room for them. */
const mostBytes = 16 * 1024;
/** Of what is known to come. Not all, so that the server and we work at the same time. */
const share = 0.75;
const graceMs = 1;
/** After a grace time with fewer answers that many are taken as they come. */
const fewAnswers = 8;
const hurriedAnswers = 100;

/** Transports that can. */
interface Patient extends Transport {
  setLeastRead?(bytes: number): boolean;
}

export class Patience {
  readonly #loop: ReturnType<typeof currentLoop>;
  /** Bytes of the answers of all that is in flight, as far as known. */
  #known = 0;
  #bytes = 1;
  #timer = -1;
  #possible = true;
  /** Of all time; when the timer was armed; and up to which none is waited for. */
  #answers = 0;
  #answersBefore = 0;
  #hurriedUntil = 0;
  #overdue = false;

  constructor(loop: ReturnType<typeof currentLoop>) {
    this.#loop = loop;
  }

  /** @param bytes of its answer, at least; 0: not known */
  sent(bytes: number): void {
    this.#known += bytes;
  }

  answered(bytes: number): void {
    this.#known -= bytes;
    this.#answers++;
  }

  /**
   * Something was sent or has come.
   *
   * @param first bytes of the answer that comes first, some of which may be here already
   */
  settle(transport: Transport | null, inFlight: number, first: number): void {
    if (inFlight < leastInFlight || first === 0) {
      if (this.#bytes !== 1) this.end(transport);
      return;
    }
    if (!this.#possible || transport === null) return;
    if (this.#overdue) {
      this.#overdue = false;
      const few = this.#answers - this.#answersBefore < fewAnswers;
      if (few) this.#hurriedUntil = this.#answers + hurriedAnswers;
    }
    if (this.#answers < this.#hurriedUntil) return;
    const bytes = Math.min(mostBytes, Math.floor((this.#known - first) * share));
    if (bytes === this.#bytes || bytes < 1) return;
    this.#possible = (transport as Patient).setLeastRead?.(bytes) === true;
    if (!this.#possible) return;
    this.#bytes = bytes;
    if (this.#timer !== -1) return;
    this.#answersBefore = this.#answers;
    this.#timer = this.#loop.armTimer(this.#loop.time() + graceMs, {
      onTimer: () => {
        this.#timer = -1;
        this.#overdue = true;
        this.end(transport);
      },
    });
  }

  /** All is told again. */
  end(transport: Transport | null): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
    if (this.#bytes === 1) return;
    this.#bytes = 1;
    (transport as Patient | null)?.setLeastRead?.(1);
  }
}
