/**
 * What a byte reader without a stream of the backend reads from.
 *
 * In: pause and resume of the reader. Out: the same, to whoever brings the bytes. Never: writing.
 */
import type { StreamHandle, StreamSink } from '../io/handles.ts';
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
