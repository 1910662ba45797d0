/**
 * A store that follows async code, for the Nodes whose AsyncLocalStorage stands on promise hooks.
 *
 * In: a store and a function to run with it. Out: the store of the code that runs now, wherever
 * AsyncLocalStorage would give it. Never: a hook of others switched off.
 *
 * On Node 20 and 22 a promise costs AsyncLocalStorage 90 ns: two ids, a record on a stack and a
 * store for each. Here a promise gets one field, and its jobs set one variable. All that is no
 * promise (timers, ticks, sockets) is followed by an async hook, as AsyncLocalStorage does it.
 * Node has no way to hook into promises only, or not into them: so its own promise hooks are
 * replaced by ours as long as nobody else has any. Whoever enables a hook or runs an
 * AsyncLocalStorage later makes Node install its own again; the same async hook then hears of
 * promises, too, and nothing is lost but the time. (Decision 0023.)
 */
import { createHook, executionAsyncId, executionAsyncResource } from 'node:async_hooks';
import { types } from 'node:util';

/** What AsyncLocalStorage and this have in common. */
export interface ContextStorage<T> {
  run<R, A extends unknown[]>(store: T, fn: (...args: A) => R, ...args: A): R;
  getStore(): T;
  enterWith(store: T): void;
}

export interface FrameStorage<T> extends ContextStorage<T> {
  /** As `run`, at the price of a call: no array is made, and none spread. */
  runBoth<A, B, R>(store: T, fn: (first: A, second: B) => R, first: A, second: B): R;
}

/** @internal What `run` gives to `runBoth`. */
export function spread<R, A extends unknown[]>(fn: (...args: A) => R, args: A): R {
  return fn(...args);
}

type Resource<T> = Record<symbol, T | undefined>;
type PromiseHook = ((promise: Promise<unknown>) => void) | undefined;

/** What this uses of Node's own side of async hooks. */
interface AsyncWrap {
  setPromiseHooks(
    init: PromiseHook,
    before: PromiseHook,
    after: PromiseHook,
    settled: PromiseHook,
  ): void;
  getPromiseHooks(): PromiseHook[];
  /** At `constants.kInit`: how many enabled async hooks have an `init`. */
  readonly async_hook_fields: Uint32Array;
  readonly constants: { readonly kInit: number };
}

/** What the types of Node do not tell. */
interface NodeInside {
  noDeprecation: boolean | undefined;
  binding(name: string): Partial<AsyncWrap>;
}

/** Whether AsyncLocalStorage stands on hooks here. Node 24 has V8 carry the stores, for nothing. */
export function hooksNeeded(storage: { prototype: object }): boolean {
  return process.versions['bun'] === undefined && '_propagate' in storage.prototype;
}

/** Null where it is not to be had, as under Node's permission model. */
function findAsyncWrap(): AsyncWrap | null {
  // Node warns of this binding because it may go; where it has gone, nobody needs it any more.
  const node = process as unknown as NodeInside;
  const { noDeprecation } = node;
  node.noDeprecation = true;
  try {
    const found = node.binding('async_wrap');
    const usable =
      typeof found.setPromiseHooks === 'function' &&
      typeof found.getPromiseHooks === 'function' &&
      found.async_hook_fields instanceof Uint32Array &&
      typeof found.constants?.kInit === 'number';
    return usable ? (found as AsyncWrap) : null;
  } catch {
    return null;
  } finally {
    node.noDeprecation = noDeprecation;
  }
}

/** A promise is made that needs no store. */
let unfollowed = false;

/**
 * A promise that gets no store: 40 bytes less. For those that no promise and no other thenable with
 * code of the user's will be resolved with; what is chained to it has its own store, as ever.
 */
export function unfollowedPromise<R>(executor: (resolve: (value: R) => void) => void): Promise<R> {
  unfollowed = true;
  try {
    return new Promise(executor);
  } finally {
    unfollowed = false;
  }
}

/** No execution id: there are Node's promise hooks, and each promise is a resource. */
const never = -1;

/** For a thread: V8 has one set of promise hooks. */
export class HookStorage<T> implements FrameStorage<T | undefined> {
  // Plain fields: this is asked for each wait, and private ones cost more.
  /** @internal */
  readonly key: symbol = Symbol('uvio.store');
  /** @internal */
  installed = false;
  /**
   * The execution id under which `current` is the store: that of the promise job which runs now. A
   * job has no id of its own. What enters a resource inside of it has another id. @internal
   */
  at = 0;
  /** @internal */
  current: T | undefined = undefined;
  /** Node's count of hooks with `init`, ours among them. @internal */
  counts: Uint32Array = new Uint32Array(0);
  /** @internal */
  initCount = 0;

  getStore(): T | undefined {
    if (executionAsyncId() === this.at) return this.current;
    return (executionAsyncResource() as Resource<T>)[this.key];
  }

  run<R, A extends unknown[]>(store: T | undefined, fn: (...args: A) => R, ...args: A): R {
    return this.runBoth(store, spread<R, A>, fn, args);
  }

  runBoth<A, B, R>(store: T | undefined, fn: (first: A, second: B) => R, first: A, second: B): R {
    if (!this.installed) this.#install();
    const inJob = executionAsyncId() === this.at;
    const { key } = this;
    const resource = inJob ? null : (executionAsyncResource() as Resource<T>);
    const before = resource === null ? this.current : resource[key];
    if (resource === null) this.current = store;
    else resource[key] = store;
    try {
      return fn(first, second);
    } finally {
      if (resource === null) this.current = before;
      else resource[key] = before;
    }
  }

  enterWith(store: T | undefined): void {
    if (!this.installed) this.#install();
    if (executionAsyncId() === this.at) this.current = store;
    else (executionAsyncResource() as Resource<T>)[this.key] = store;
  }

  /** Nobody else has a store or hears of resources, so no AsyncResource is needed. */
  alone(): boolean {
    return this.counts[this.initCount] === 1;
  }

  #install(): void {
    this.installed = true;
    const node = findAsyncWrap();
    const others = node?.getPromiseHooks().some((hook) => hook !== undefined) ?? true;
    const { key } = this;
    const hand = (resource: object): void => {
      if (unfollowed) return;
      const store = this.getStore();
      if (store !== undefined) (resource as Resource<T>)[key] = store;
    };
    const enterJob = (promise: object): void => {
      this.at = executionAsyncId();
      this.current = (promise as Resource<T>)[key];
    };
    const leaveJob = (): void => {
      this.at = 0;
      this.current = undefined;
    };
    const onInit = (_id: number, type: string, _trigger: number, resource: object): void => {
      if (type === 'PROMISE' && this.at !== never) this.#checkHooks();
      hand(resource);
    };
    createHook({ init: onInit }).enable();
    if (others) this.at = never;
    else node?.setPromiseHooks(hand, enterJob, leaveJob, undefined);
    if (node === null) return;
    this.counts = node.async_hook_fields;
    this.initCount = node.constants.kInit;
  }

  #checkHooks(): void {
    if (!types.isPromise(executionAsyncResource())) return;
    // Node's promise hooks came back, and the job in which they did so has ended.
    this.at = never;
    this.current = undefined;
  }
}
