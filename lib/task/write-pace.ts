/**
 * Keeps writes that the kernel takes at once from starving the process.
 *
 * In: how much each such write had. Out: promises, resolved already or in a later turn of the
 * backend, in order. Never: a write that is not done; more than `budgetBytes` of them in a row
 * before the network and timers have their turn.
 *
 * Who writes to a peer that reads as fast never has to wait, so a loop of writes would run for as
 * long as it likes in microtasks. (asyncio's `drain()` starves others so.) Of many that are held,
 * each turn lets go on as many as fit its budget: a crowd of downloads shares the loop with those
 * who ask for little. (Decision 0030 "Later".)
 */
import type { WaitOptions } from '../base/errors.ts';
import { quieted, resolved } from '../base/quiet.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { currentLoop } from './frame.ts';
import { loopState } from './loop-state.ts';
import { Waiter } from './waiter.ts';

/** About a millisecond of a loopback connection. */
export const budgetBytes: number = 1024 * 1024;
/** What a system call costs beside its bytes. */
const leastBytes = 512;

/** Bytes that this thread's connections have read, as a small integer that wraps around. */
let readBytes = 0;

/**
 * Bytes came, and with them a turn of the network: who writes what it reads, as an echo or a proxy
 * does, is bounded by that. Such writes are not counted.
 */
export function noteRead(bytes: number): void {
  readBytes = (readBytes + Math.max(bytes, leastBytes)) | 0;
}

/** A wait for the end of a write, which may be held when that has come. */
export class WriteWait extends Waiter<void> {
  /** @internal Null: it is not held. */
  pace: WritePace | null = null;
  /** @internal */
  bytes = 0;

  override onCancel(): void {
    this.pace?.dropped();
  }
}

export class WritePace {
  readonly #loop: EventLoop;
  #leftBytes: number = budgetBytes;
  #seenBytes: number = readBytes;
  /** The loop's number when that began. */
  #looks = 0;
  #held: WriteWait[] = [];
  /** Held and not cancelled. */
  #active = 0;
  #timer = -1;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Of a write of which nothing waits. @param bytes of it */
  written(bytes: number, options: WaitOptions | undefined): Promise<void> {
    if (this.#spend(bytes)) return resolved;
    const wait = new WriteWait('write');
    const promise = wait.start(options);
    quieted(promise);
    if (wait.active) this.#hold(wait, bytes);
    return promise;
  }

  /** What a writer waited for has gone. @param bytes since it went on last */
  wake(wait: WriteWait, bytes: number): void {
    if (this.#spend(bytes)) wait.wake();
    else if (wait.active) this.#hold(wait, bytes);
  }

  /** @internal The network had its turn. */
  onTimer(): void {
    const held = this.#held;
    this.#timer = -1;
    this.#leftBytes = budgetBytes;
    let bytes = budgetBytes;
    let count = 0;
    for (; count < held.length && bytes > 0; count++) {
      const wait = held[count] as WriteWait;
      if (!wait.active) continue;
      bytes -= wait.bytes;
      wait.pace = null;
      this.#active--;
    }
    this.#held = held.slice(count);
    this.#askTurn();
    for (let i = 0; i < count; i++) (held[i] as WriteWait).wake();
  }

  /** @internal One that is held was cancelled. */
  dropped(): void {
    this.#active--;
    if (this.#active > 0) return;
    this.#held = [];
    this.#leftBytes = budgetBytes;
    this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  #spend(bytes: number): boolean {
    if (this.#active > 0) return false;
    const { looks } = this.#loop;
    const news = (readBytes - this.#seenBytes) | 0;
    this.#seenBytes = readBytes;
    // Negative: more than 2 GiB.
    const anew = looks !== this.#looks || news < 0;
    const most = anew ? budgetBytes : Math.min(this.#leftBytes + news, budgetBytes);
    this.#looks = looks;
    this.#leftBytes = most - Math.max(bytes, leastBytes);
    return this.#leftBytes > 0 || this.#loop.closed;
  }

  #hold(wait: WriteWait, bytes: number): void {
    wait.pace = this;
    wait.bytes = Math.max(bytes, leastBytes);
    this.#held.push(wait);
    this.#active++;
    this.#askTurn();
  }

  /** A timer that is due: it comes behind the next look at the network, and never by a tick. */
  #askTurn(): void {
    if (this.#active === 0 || this.#timer >= 0) return;
    this.#timer = this.#loop.armTimer(Number.NEGATIVE_INFINITY, this);
  }
}

/** Without an argument that of the loop which runs this code. @internal */
export function writePace(loop: EventLoop = currentLoop()): WritePace {
  const state = loopState(loop);
  state.writePace ??= new WritePace(loop);
  return state.writePace;
}
