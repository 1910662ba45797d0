/**
 * Byte readers without a stream of the backend, and what they read from.
 *
 * In: bytes from whoever has them; pause and resume of the reader. Out: reads; the same calls to
 * whoever brings the bytes. Never: writing.
 */
import type { BrokenResourceError } from '../base/errors.ts';
import type { StreamHandle, StreamSink } from '../io/handles.ts';
import { defaultLimits } from '../io/limits.ts';
import { ReadingStream } from '../io/reading-stream.ts';
import { inertSink } from '../io/stream.ts';

export interface ReadingTarget {
  pauseBody(): void;
  resumeBody(): void;
}

/** The reading half of a stream handle; the rest of it is never asked for. */
export class ReadingHandle implements StreamHandle {
  sink: StreamSink | null = inertSink;
  readonly bufferedBytes = 0;
  readonly fd = null;
  target: ReadingTarget | null = null;

  pause(): void {
    this.target?.pauseBody();
  }

  resume(): void {
    this.target?.resumeBody();
  }

  write(): number {
    return 0;
  }
  notifyDrain(): void {}
  shutdown(): void {}
  close(): void {}
  abort(): void {}
  setReadInto(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}
  localAddress(): null {
    return null;
  }
  remoteAddress(): null {
    return null;
  }
}

/** A byte reader over one; whoever brings the bytes calls `onData`, `onEof`, `onClosed`. */
export abstract class FedReader extends ReadingStream {
  constructor(handle: ReadingHandle) {
    super(handle, defaultLimits);
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
