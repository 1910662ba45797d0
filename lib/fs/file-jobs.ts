/**
 * The operations of a file as jobs of its queue.
 *
 * In: what to do. Out: system calls in their turn, and results. Never: bytes taken for a read that
 * was cancelled; a write that stops half-way because nobody waits for it.
 */
import type { Buffer } from 'node:buffer';
import { FileJob, type RawFile } from './raw-file.ts';
import { notYet, type Want } from './wants.ts';

export class ReadJob<T> extends FileJob<T> {
  readonly #want: Want<T>;

  constructor(want: Want<T>) {
    super(want.label);
    this.#want = want;
  }

  override async run(file: RawFile): Promise<void> {
    for (let ended = false; this.active; ) {
      const result = this.#want.take(file.window, ended);
      if (result === notYet) {
        ended = (await file.fill(this.#want.missingBytes)) === 0;
      } else {
        file.release();
        this.wake(result);
      }
    }
  }
}

export class WriteJob extends FileJob<number> {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    super('write');
    this.#bytes = bytes;
  }

  override async run(file: RawFile): Promise<void> {
    await file.write(this.#bytes);
    this.wake(this.#bytes.length);
  }

  override failed(file: RawFile, error: unknown): void {
    if (this.active) this.fail(error);
    else file.lose(error);
  }
}

/** Any other operation. */
export class CallJob<T> extends FileJob<T> {
  readonly #call: (file: RawFile) => Promise<T>;

  constructor(label: string, call: (file: RawFile) => Promise<T>) {
    super(label);
    this.#call = call;
  }

  override async run(file: RawFile): Promise<void> {
    this.wake(await this.#call(file));
  }
}

export class CloseJob extends FileJob<void> {
  constructor() {
    super('close');
  }

  override async run(file: RawFile): Promise<void> {
    await file.handle.close();
    file.throwLost();
    this.wake();
  }
}
