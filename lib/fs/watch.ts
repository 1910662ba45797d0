/**
 * Changes of files, as the system reports them.
 *
 * In: events of node:fs. Out: steps of a loop. Never: a watcher that outlives its loop; a queue
 * without bound.
 */

import type { FSWatcher } from 'node:fs';
import { watch as watchNode } from 'node:fs';
import { argTypeError, BrokenResourceError, type WaitOptions } from '../base/errors.ts';
import { Waiter } from '../task/waiter.ts';

export interface FileEvent {
  /** 'rename': a name came or went; 'change': content or attributes. */
  readonly type: 'change' | 'rename';
  /** Relative to the folder that is watched; '' where the system does not say. */
  readonly filename: string;
}

export interface WatchOptions extends WaitOptions {
  /** Folders inside, too. Default false. */
  recursive?: boolean;
}

/** Different events that wait for the loop. */
const maxEvents = 4096;

type Step = IteratorResult<FileEvent, undefined>;
const end: Step = { value: undefined, done: true };

class EventWaiter extends Waiter<Step> {
  readonly #events: Events;

  constructor(events: Events) {
    super('watch');
    this.#events = events;
  }

  /** `for await` does not close what it cannot read on, so this does. */
  override onCancel(): void {
    this.#events.leave(this);
  }
}

/** One loop: its watcher, and the events that it has not seen. */
class Events implements AsyncIterator<FileEvent, undefined> {
  readonly #options: WatchOptions;
  #watcher: FSWatcher | null = null;
  /** By type and name: one that was not seen yet stands for all like it. */
  readonly #events: Map<string, FileEvent> = new Map();
  readonly #waiters: Set<EventWaiter> = new Set();
  /** What the loop ends with after the events. */
  #failure: { readonly error: unknown } | null = null;

  constructor(path: string | URL, options: WatchOptions) {
    this.#options = options;
    try {
      this.#watcher = watchNode(path, { recursive: options.recursive ?? false });
    } catch (error) {
      this.#failure = { error };
      return;
    }
    this.#watcher.on('change', (type, filename) => {
      this.#add({ type: type as FileEvent['type'], filename: String(filename ?? '') });
    });
    this.#watcher.on('error', (error) => this.#fail(error));
  }

  next(): Promise<Step> {
    const waiter = new EventWaiter(this);
    const promise = waiter.start(this.#options);
    if (!waiter.active) {
      this.close();
      return promise;
    }
    this.#waiters.add(waiter);
    this.#serve();
    return promise;
  }

  return(): Promise<Step> {
    this.close();
    return Promise.resolve(end);
  }

  leave(waiter: EventWaiter): void {
    this.#waiters.delete(waiter);
    this.close();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#events.clear();
    this.#failure = null;
    this.#serve();
  }

  #add(event: FileEvent): void {
    if (this.#watcher === null) return;
    if (this.#events.size >= maxEvents) {
      const why = `More than ${maxEvents} changes waited to be seen; later ones are lost`;
      this.#fail(new BrokenResourceError(why));
      return;
    }
    this.#events.set(`${event.type} ${event.filename}`, event);
    this.#serve();
  }

  #fail(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#failure = { error };
    this.#serve();
  }

  #serve(): void {
    for (const waiter of this.#waiters) {
      const [first] = this.#events;
      if (first !== undefined) {
        this.#events.delete(first[0]);
        waiter.wake({ value: first[1], done: false });
      } else if (this.#failure !== null) {
        waiter.fail(this.#failure.error);
        this.#failure = null;
      } else if (this.#watcher === null) {
        waiter.wake(end);
      } else {
        return;
      }
      this.#waiters.delete(waiter);
    }
  }
}

/**
 * Changes of a file, or of what is in a folder, until the loop over them is left or cancelled;
 * that closes the watcher. It watches from the beginning of the loop on; each loop for itself.
 * What comes while the loop is busy waits for it: equal events once, and at most 4096 of them, then
 * BrokenResourceError. Errors are Node's (`ENOENT` …). How many events a change makes is the
 * system's affair. (watchfiles; node:fs watch)
 */
export function watch(path: string | URL, options: WatchOptions = {}): AsyncIterable<FileEvent> {
  if (typeof path !== 'string' && !(path instanceof URL)) {
    throw argTypeError('path', 'a string or a URL', path);
  }
  return {
    [Symbol.asyncIterator](): AsyncIterator<FileEvent, undefined> {
      return new Events(path, options);
    },
  };
}
