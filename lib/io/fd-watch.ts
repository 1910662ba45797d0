/**
 * Callbacks for descriptors that can be read or written: asyncio's add_reader and add_writer.
 *
 * In: descriptor numbers and callbacks. Out: calls, as long as the descriptor is ready. Never: a
 * descriptor closed, read, written or changed.
 */
import { argTypeError, InvalidStateError, notSupportedError } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { type CallbackContext, watchRead, watchWrite } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { captureContext } from './callback-context.ts';

export type Direction = 'reader' | 'writer';

interface Ready {
  readonly callback: () => void;
  readonly context: CallbackContext;
}

class FdWatch {
  readonly fd: number;
  readonly #loop: EventLoop;
  reader: Ready | null = null;
  writer: Ready | null = null;

  constructor(loop: EventLoop, fd: number) {
    this.#loop = loop;
    this.fd = fd;
  }

  get interest(): number {
    return (this.reader === null ? 0 : watchRead) | (this.writer === null ? 0 : watchWrite);
  }

  onReady(interest: number): void {
    if ((interest & watchRead) !== 0) this.#call('reader');
    // Which may have removed the writer.
    if ((interest & watchWrite) !== 0) this.#call('writer');
  }

  #call(direction: Direction): void {
    const ready = this[direction];
    if (ready === null) return;
    try {
      ready.context.run(ready.callback, undefined);
    } catch (error) {
      const message = `Exception in the ${direction} of descriptor ${this.fd}`;
      this.#loop.callExceptionHandler({ message, error });
    }
  }
}

const watches: WeakMap<EventLoop, Map<number, FdWatch>> = new WeakMap();

function tableOf(loop: EventLoop): Map<number, FdWatch> {
  let table = watches.get(loop);
  if (table === undefined) {
    table = new Map();
    watches.set(loop, table);
  }
  return table;
}

/** @internal For checks of leaks: descriptors that are watched. */
export function watchedDescriptors(loop: EventLoop): number {
  return watches.get(loop)?.size ?? 0;
}

export function addWatch(
  loop: EventLoop,
  direction: Direction,
  fd: number,
  callback: () => void,
): void {
  checkInteger('fd', fd, 0, 2 ** 31 - 1);
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  const backend = loop.backendHandle;
  if (backend.watchFd === undefined) {
    throw notSupportedError('watch', `the ${backend.name} backend cannot watch descriptors`);
  }
  const table = tableOf(loop);
  const watch = table.get(fd) ?? new FdWatch(loop, fd);
  watch[direction] = { callback, context: captureContext(loop) };
  try {
    // Also when nothing new is of interest: the number may stand for another open file by now.
    backend.watchFd(fd, watch.interest, (interest) => watch.onReady(interest));
    table.set(fd, watch);
  } catch (error) {
    // Whatever was registered under this number was closed.
    table.delete(fd);
    backend.watchFd(fd, 0, () => {});
    throw error;
  }
}

/** False when there was none. */
export function removeWatch(loop: EventLoop, direction: Direction, fd: number): boolean {
  checkInteger('fd', fd, 0, 2 ** 31 - 1);
  const table = tableOf(loop);
  const watch = table.get(fd);
  if (watch === undefined || watch[direction] === null || loop.closed) return false;
  watch[direction] = null;
  if (watch.interest === 0) table.delete(fd);
  try {
    loop.backendHandle.watchFd?.(fd, watch.interest, (interest) => watch.onReady(interest));
  } catch {
    // Closed meanwhile: nothing will come of the other direction either.
    loop.backendHandle.watchFd?.(fd, 0, () => {});
  }
  return true;
}
