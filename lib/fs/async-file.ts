/**
 * What a file is to its users.
 *
 * In: nothing. Out: types. Never: code.
 */
import type { Buffer } from 'node:buffer';
import type { WaitOptions } from '../base/errors.ts';

/** Node's flags. */
export type OpenFlags = 'r' | 'r+' | 'w' | 'w+' | 'wx' | 'a' | 'a+' | 'ax';

/**
 * An open file. Iterating gives lines (text, without the `\n` or `\r\n` at the end) or chunks
 * (bytes); leaving the loop leaves the file open, and another one goes on where it stopped.
 *
 * Operations are done one after the other in the order of the calls, also those of several tasks.
 * What is under way in a thread cannot be stopped: a cancelled wait ends at once and the next
 * operation begins after it. A cancelled read takes nothing: its bytes are what the next one gets.
 * A cancelled write is not begun, or completely done; if it fails after all, the next `write`,
 * `writeLines`, `truncate`, `sync` or `close` throws its error.
 *
 * Errors are Node's (`EBADF`, `ENOSPC` …); after `close()`: ClosedResourceError.
 * Text is neither translated nor changed: `\r\n` stays, a byte order mark stays, bytes that are no
 * text become U+FFFD. (curio's AsyncFile, trio.open_file)
 */
export interface AsyncFile<D extends string | Buffer> extends AsyncDisposable, AsyncIterable<D> {
  /** -1 once closed. */
  readonly fd: number;
  /**
   * To the end, or at most `size` characters (code points) or bytes: fewer only at the end; empty
   * at the end. The end is not final: when the file has grown, the next read gives what was added.
   * RangeError: `size` is negative or a fraction.
   */
  read(size?: number, options?: WaitOptions): Promise<D>;
  /** A line with its newline, `\n` or `\r\n`, which the last one may lack; empty at the end. */
  readLine(options?: WaitOptions): Promise<D>;
  /** All lines up to the end, with their newlines. */
  readLines(options?: WaitOptions): Promise<D[]>;
  /** Fills `target` unless the end comes before. Bytes read; 0 at the end. Not for half a text. */
  readInto(target: Uint8Array, options?: WaitOptions): Promise<number>;
  /**
   * Writes all of it at the position, or at the end with 'a' flags; gives the number of bytes.
   * Nothing is buffered. `data` is the caller's own again when the call has returned.
   * Strings are encoded as the file's text; UTF-8 in a file of bytes.
   */
  write(data: string | Uint8Array, options?: WaitOptions): Promise<number>;
  /** Writes all parts as one; adds no newlines. */
  writeLines(parts: Iterable<string | Uint8Array>, options?: WaitOptions): Promise<void>;
  /** New position in bytes. RangeError before the start; ESPIPE where there are no positions. */
  seek(offset: number, from?: 'start' | 'current' | 'end'): Promise<number>;
  /** Position in bytes, of what was read and written: what is under way does not count. */
  tell(): number;
  /** Cuts off or fills up with zeros at `bytes`, by default the position, which stays. */
  truncate(bytes?: number): Promise<void>;
  /** To the disk. (fsync) */
  sync(): Promise<void>;
  /**
   * Closes when all operations before it are done. Not cancellable, so that no file stays open.
   * Idempotent.
   */
  close(): Promise<void>;
}
