/**
 * A store that follows async code, for the Nodes where V8 carries one value along.
 *
 * In: a store and a function to run with it. Out: the store of the code that runs now, wherever
 * AsyncLocalStorage would give it. Never: a store of others lost.
 *
 * The value is a frame: AsyncLocalStorage makes it a Map of all stores, and a new one for each
 * `run`, twice. Here it is an object of two fields that answers as such a Map does, so that Node
 * and other AsyncLocalStorages find theirs in it, and copy it into Maps of their own. Node does not
 * promise any of this: `works` tries each part first. (Decision 0023.)
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { type FrameStorage, spread } from './hook-storage.ts';

/** What Node asks a frame for. */
interface Stores {
  has(key: unknown): boolean;
  get(key: unknown): unknown;
  /** Of AsyncLocalStorage's `disable()`. */
  disable(key: unknown): void;
  [Symbol.iterator](): Iterator<[unknown, unknown]>;
}

/** Node's class of frames. */
interface Frames {
  current(): Stores | undefined;
  set(frame: Stores | undefined): void;
}

/** One store of ours, and all those of others. */
class Carried<T> implements Stores {
  /** @internal */
  readonly key: CarriedStorage<T>;
  /** @internal */
  readonly store: T | undefined;
  /** @internal */
  readonly others: Stores | undefined;

  constructor(key: CarriedStorage<T>, store: T | undefined, others: Stores | undefined) {
    this.key = key;
    this.store = store;
    this.others = others;
  }

  has(key: unknown): boolean {
    return key === this.key || (this.others?.has(key) ?? false);
  }

  get(key: unknown): unknown {
    return key === this.key ? this.store : this.others?.get(key);
  }

  disable(key: unknown): void {
    this.others?.disable(key);
  }

  [Symbol.iterator](): Iterator<[unknown, unknown]> {
    const own: [unknown, unknown] = [this.key, this.store];
    return [own, ...(this.others ?? [])][Symbol.iterator]();
  }
}

/** What was around, without the store that a frame of ours replaces: it would be kept alive. */
class Others extends Map<unknown, unknown> implements Stores {
  disable(key: unknown): void {
    this.delete(key);
  }
}

/** For a thread. */
export class CarriedStorage<T> implements FrameStorage<T | undefined> {
  readonly #frames: Frames;

  /** @internal */
  constructor(frames: Frames) {
    this.#frames = frames;
  }

  getStore(): T | undefined {
    const frame = this.#frames.current();
    if (frame instanceof Carried && frame.key === this) return frame.store as T | undefined;
    return frame?.get(this) as T | undefined;
  }

  run<R, A extends unknown[]>(store: T | undefined, fn: (...args: A) => R, ...args: A): R {
    return this.runBoth(store, spread<R, A>, fn, args);
  }

  runBoth<A, B, R>(store: T | undefined, fn: (first: A, second: B) => R, first: A, second: B): R {
    const frames = this.#frames;
    const before = frames.current();
    frames.set(this.#with(store, before));
    try {
      return fn(first, second);
    } finally {
      frames.set(before);
    }
  }

  enterWith(store: T | undefined): void {
    this.#frames.set(this.#with(store, this.#frames.current()));
  }

  #with(store: T | undefined, around: Stores | undefined): Stores | undefined {
    const others = this.#othersIn(around);
    const empty = store === undefined && others === undefined;
    return empty ? undefined : new Carried(this, store, others);
  }

  #othersIn(around: Stores | undefined): Stores | undefined {
    if (around instanceof Carried && around.key === this) return around.others;
    if (!around?.has(this)) return around;
    const others = new Others(around);
    others.delete(this);
    return others.size === 0 ? undefined : others;
  }
}

type Resource = Record<symbol, unknown>;

function captured(): Resource {
  return new AsyncResource('UVIO', { requireManualDestroy: true }) as unknown as Resource;
}

/** Node's class of frames: an AsyncResource holds one. Null where there is none. */
function findFrames(theirs: AsyncLocalStorage<unknown>): Frames | null {
  const outside = captured();
  const inside = theirs.run(true, captured);
  const symbols = Object.getOwnPropertySymbols(inside);
  const symbol = symbols.find(({ description }) => description === 'context_frame');
  if (symbol === undefined) return null;
  const frames = (inside[symbol] as { constructor: Frames } | undefined)?.constructor ?? null;
  // What `run` leaves behind is a map that says there is no store.
  frames?.set(outside[symbol] as Stores | undefined);
  return frames;
}

/** Whether our frames and Node's own find what is in each other. */
function works(frames: Frames, theirs: AsyncLocalStorage<unknown>): boolean {
  const before = frames.current();
  const ours = new CarriedStorage<number>(frames);
  const seen: unknown[] = [];
  const look = (): void => void seen.push(ours.getStore(), theirs.getStore());
  const resource = ours.run(1, () => {
    look();
    theirs.run(2, () => {
      look();
      ours.run(3, look);
      theirs.disable();
      look();
    });
    return captured() as unknown as AsyncResource;
  });
  ours.run(4, () => resource.runInAsyncScope(look));
  look();
  const none = undefined;
  const expected = [1, none, 1, 2, 3, 2, 1, none, 1, none, none, none];
  return frames.current() === before && seen.every((store, i) => store === expected[i]);
}

/** A storage where this Node lets one be, else null. */
export function carriedStorage<T>(): CarriedStorage<T> | null {
  try {
    const theirs = new AsyncLocalStorage<unknown>();
    const frames = findFrames(theirs);
    return frames !== null && works(frames, theirs) ? new CarriedStorage<T>(frames) : null;
  } catch {
    return null;
  }
}
