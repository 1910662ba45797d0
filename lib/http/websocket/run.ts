/**
 * Frames that follow one another in a turn, for all who get the same ones.
 *
 * In: frames. Out: one piece of memory for a whole run. Never: a copy for each who gets it.
 */
import { Buffer } from 'node:buffer';

/** The end of a run: what came before is shared with all that began alike. */
export class Run {
  /** Of the whole run. */
  readonly bytes: number;
  readonly #before: Run | null;
  readonly #frame: Buffer;
  #joined: Buffer | null = null;
  /** The one that was asked for last, and the others, if there are any. */
  #next: Run | null = null;
  #others: Map<Buffer, Run> | null = null;

  /** Without arguments: a run of nothing. */
  constructor(before: Run | null = null, frame: Buffer = Buffer.alloc(0)) {
    this.#before = before;
    this.#frame = frame;
    this.bytes = (before === null ? 0 : before.bytes) + frame.length;
  }

  /** With one frame more; the same object for the same frame. */
  followedBy(frame: Buffer): Run {
    const next = this.#next;
    if (next !== null && next.#frame === frame) return next;
    let found = this.#others?.get(frame);
    if (found === undefined) {
      found = new Run(this, frame);
      if (next !== null) {
        this.#others ??= new Map([[next.#frame, next]]);
        this.#others.set(frame, found);
      }
    }
    this.#next = found;
    return found;
  }

  joined(): Buffer {
    this.#joined ??= this.#join();
    return this.#joined;
  }

  #join(): Buffer {
    if (this.#before === null || this.#before.bytes === 0) return this.#frame;
    const frames: Buffer[] = [];
    for (let run: Run | null = this; run !== null; run = run.#before) frames.push(run.#frame);
    return Buffer.concat(frames.reverse(), this.bytes);
  }
}
