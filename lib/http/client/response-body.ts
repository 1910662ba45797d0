/**
 * The body of a response as a byte reader.
 *
 * In: bytes as they come, decoded. Out: promises of bytes. Never: more ahead than a stream reads.
 */
import type { BrokenResourceError } from '../../base/errors.ts';
import { defaultLimits } from '../../io/limits.ts';
import { ReadingStream } from '../../io/reading-stream.ts';
import { flagEnded, flagGone } from '../../io/stream.ts';
import { ReadingHandle, type ReadingTarget } from '../reading-handle.ts';

export class ResponseBody extends ReadingStream {
  constructor(target: ReadingTarget) {
    const handle = new ReadingHandle();
    super(handle, defaultLimits);
    handle.target = target;
  }

  /** All of it has come, or no more will. */
  get complete(): boolean {
    return this.has(flagEnded) || this.has(flagGone);
  }

  fail(error: unknown): void {
    if (!this.complete) this.onClosed(error as Error);
  }

  onDrain(): void {}

  finish(): void {}

  abort(): void {}

  /** Readers are told what happened itself. */
  protected override lossOf(error: Error): BrokenResourceError {
    return error as BrokenResourceError;
  }

  protected settle(): void {}
}
