/**
 * How long the answers of many queries, and the rest of a long one, are left to the kernel.
 *
 * In: what is in flight, how long each of their answers was before, and how much of the first is
 * here. Out: the number of bytes that are worth waking for. Never: an answer that is kept back for
 * more than two milliseconds; a wait for bytes behind the answer of something whose length is not
 * known; a wait for the first bytes of a single answer.
 *
 * The server sends after each Sync: of 100 queries in one write the answers would come by up to 70
 * reads, each with a sleep, which costs more than all else that such a query needs. A long answer
 * comes in pieces of 8 KiB, each with a sleep as well.
 */
import type { Transport } from '../io/protocols.ts';
import type { currentLoop } from '../task/frame.ts';

type Loop = ReturnType<typeof currentLoop>;

/** With fewer in flight there is little to gain. */
const leastInFlight = 8;
/** Larger reads cost no less, and the kernel must have room for them. */
const mostBytes = 16 * 1024;
/** Of what is known to come. Not all, so that the server and we work at the same time. */
const share = 0.75;
/** What PostgreSQL sends at once, but for the end of an answer. */
const piece = 8 * 1024;
/** Of one answer. */
const mostOfOne = 256 * 1024;
/** A record of TLS, of which all but the end may have come without being readable yet. */
const record = 17 * 1024;
const graceMs = 1;
/** After a grace time with fewer answers that many are taken as they come. */
const fewAnswers = 8;
const hurriedAnswers = 100;
/** After the rest of one was late: twice as many each time, and half after one that was not. */
const leastHurried = 4;

/** Transports that can. */
interface Patient extends Transport {
  setLeastRead?(bytes: number): boolean;
}

/** Looks each millisecond whether something is late, for all connections of a loop. */
class Watch {
  readonly #loop: Loop;
  readonly #watched: Patience[] = [];
  #timer = -1;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  add(one: Patience): void {
    this.#watched.push(one);
    if (this.#timer === -1) this.#arm();
  }

  #arm(): void {
    this.#timer = this.#loop.armTimer(this.#loop.time() + graceMs, this);
    this.#loop.setTimerRef(this.#timer, false);
  }

  onTimer(): void {
    this.#timer = -1;
    const watched = this.#watched;
    let kept = 0;
    for (const one of watched) if (one.stillWaits()) watched[kept++] = one;
    watched.length = kept;
    if (kept > 0) this.#arm();
  }

  /** Nothing of it is left. */
  remove(one: Patience): void {
    const at = this.#watched.indexOf(one);
    if (at >= 0) this.#watched.splice(at, 1);
    if (this.#watched.length > 0 || this.#timer === -1) return;
    this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }
}

const watches: WeakMap<Loop, Watch> = new WeakMap();

function watchOf(loop: Loop): Watch {
  let watch = watches.get(loop);
  if (watch === undefined) {
    watch = new Watch(loop);
    watches.set(loop, watch);
  }
  return watch;
}

/** How much of an answer is worth waiting for: up to its last piece, which is a short one. */
function restOf({ tls }: Transport, first: number, came: number): number {
  const rest = first - (first % piece || piece) + 1 - came - (tls === null ? 0 : record);
  return rest > piece / 2 ? Math.min(rest, mostOfOne) : 1;
}

export class Patience {
  readonly #watch: Watch;
  #transport: Transport | null = null;
  /** Bytes of the answers of all that is in flight, as far as known. */
  #known = 0;
  #bytes = 1;
  /** The rest of one answer is waited for. */
  #ofOne = false;
  #possible = true;
  /** Of all time; when the wait began; and up to which none is waited for. */
  #answers = 0;
  #answersBefore = 0;
  #hurriedUntil = 0;
  #hurry = leastHurried;
  #watched = false;
  /** The watch has seen this wait, and nothing has come since. */
  #seen = false;
  /** As at the last call of `settle`. */
  #came = 0;
  #answersThen = 0;

  constructor(loop: Loop) {
    this.#watch = watchOf(loop);
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
   * @param first bytes of the answer that comes first, at least; 0: not known
   * @param came how many of them are here
   */
  settle(transport: Transport | null, inFlight: number, first: number, came: number): void {
    if (!this.#possible || transport === null) return;
    // What comes is read to the end: so nothing of before is kept back.
    if (came !== this.#came || this.#answers !== this.#answersThen) this.#seen = false;
    this.#came = came;
    this.#answersThen = this.#answers;
    const rest = came > 0 ? restOf(transport, first, came) : 1;
    const bytes =
      rest > 1 ? rest : first > 0 && inFlight >= leastInFlight ? this.#ofMany(first) : 1;
    if (bytes > 1) {
      if (this.#answers < this.#hurriedUntil) return;
      this.#ofOne = rest > 1;
    } else if (this.#bytes > 1 && this.#ofOne && this.#hurry > leastHurried) {
      // It was not late, this time.
      this.#hurry /= 2;
    }
    this.#set(transport, bytes);
  }

  /** Not counting the first, some of which may be here. */
  #ofMany(first: number): number {
    return Math.max(1, Math.min(mostBytes, Math.floor((this.#known - first) * share)));
  }

  #set(transport: Transport, bytes: number): void {
    if (bytes === this.#bytes) return;
    this.#possible = (transport as Patient).setLeastRead?.(bytes) === true;
    if (!this.#possible) return;
    this.#transport = transport;
    if (this.#bytes === 1) {
      this.#answersBefore = this.#answers;
      this.#seen = false;
    }
    this.#bytes = bytes;
    if (bytes === 1 || this.#watched) return;
    this.#watched = true;
    this.#watch.add(this);
  }

  /** @internal False: it need not be watched any more. */
  stillWaits(): boolean {
    if (this.#bytes !== 1 && !this.#seen) {
      this.#seen = true;
      return true;
    }
    this.#watched = false;
    if (this.#bytes === 1) return false;
    if (this.#ofOne) {
      this.#hurriedUntil = this.#answers + this.#hurry;
      if (this.#hurry < hurriedAnswers) this.#hurry *= 2;
    } else if (this.#answers - this.#answersBefore < fewAnswers) {
      this.#hurriedUntil = this.#answers + hurriedAnswers;
    }
    if (this.#transport !== null) this.#set(this.#transport, 1);
    return false;
  }

  /** The connection is gone. */
  end(): void {
    if (this.#watched) this.#watch.remove(this);
    this.#watched = false;
    this.#transport = null;
    this.#possible = false;
  }
}
