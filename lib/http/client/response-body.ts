/**
 * The body of a response as a byte reader.
 *
 * In: bytes as they come, decoded. Out: promises of bytes. Never: more ahead than a stream reads.
 */
import { flagEnded, flagGone } from '../../io/stream.ts';
import { FedReader, ReadingHandle, type ReadingTarget } from '../reading-handle.ts';

export class ResponseBody extends FedReader {
  constructor(target: ReadingTarget) {
    const handle = new ReadingHandle();
    super(handle);
    handle.target = target;
  }

  /** All of it has come, or no more will. */
  get complete(): boolean {
    return this.has(flagEnded) || this.has(flagGone);
  }

  fail(error: unknown): void {
    if (!this.complete) this.onClosed(error as Error);
  }
}
