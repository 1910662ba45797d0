/**
 * Which backend carries the loops of this thread.
 *
 * In: the user's choice, or UVIO_POLICY. Out: policies, loops and the thread's default loop.
 * Never: tasks and above; loading the addon before it is asked for.
 */
import { argTypeError, systemErrorByCode } from '../base/errors.ts';
import type { BackendFactory } from './backend.ts';
import { EventLoop } from './event-loop.ts';
import { createNativeBackend, nativeInfo } from './native/backend.ts';
import { createPureBackend } from './pure/backend.ts';

export { type NativeInfo, nativeInfo } from './native/backend.ts';

/** Chooses the loop backend. Made by `native()`, `pure()` or `simulated()` (uvio/testing). */
export interface LoopPolicy {
  /** 'native', 'pure' or 'simulated'. */
  readonly name: string;
  /** Makes a loop of its own (asyncio: new_event_loop). */
  createLoop(): EventLoop;
}

export interface NativeOptions {
  /** Default 'auto': io_uring where the kernel allows it and it was found faster, else uv. */
  engine?: 'auto' | 'uv' | 'io_uring';
  /** Throw when the addon cannot load, instead of falling back to `pure()`. Default false. */
  required?: boolean;
  /**
   * Polls for up to this many microseconds before the thread goes to sleep: faster round trips on
   * few connections, for a core that is always busy. Default 0.
   */
  spinMicros?: number;
}

/** A policy from a backend factory: how `native`, `pure` and `simulated` are made. @internal */
export function makePolicy(name: string, factory: BackendFactory): LoopPolicy {
  return { name, createLoop: (): EventLoop => new EventLoop(factory) };
}

/** Plain Node modules. The default policy. */
export function pure(): LoopPolicy {
  return makePolicy('pure', createPureBackend);
}

let warned = false;

/**
 * The libuv addon. Where it cannot load (Windows, Bun, Deno, no prebuild) the result is `pure()`,
 * a warning with code UVIO_NATIVE_UNAVAILABLE comes once, and `nativeInfo().reason` says why.
 * Nothing is loaded before this is called. Throws ERR_UVIO_NATIVE_UNAVAILABLE when `required`.
 */
export function native(options: NativeOptions = {}): LoopPolicy {
  const { engine = 'auto', required = false } = options;
  if (engine !== 'auto' && engine !== 'uv' && engine !== 'io_uring') {
    throw argTypeError('options.engine', "'auto', 'uv' or 'io_uring'", engine);
  }
  const info = nativeInfo();
  if (info.available) {
    if (engine !== 'auto' && !info.engines.includes(engine)) {
      throw systemErrorByCode('ENOTSUP', engine);
    }
    return makePolicy('native', createNativeBackend(options));
  }
  const reason = info.reason ?? 'unknown reason';
  if (required) {
    const error = new Error(`The native addon is not available: ${reason}`);
    throw Object.assign(error, { code: 'ERR_UVIO_NATIVE_UNAVAILABLE' });
  }
  if (!warned) {
    warned = true;
    process.emitWarning(`uvio runs on node:net instead of its addon: ${reason}`, {
      type: 'UvioWarning',
      code: 'UVIO_NATIVE_UNAVAILABLE',
    });
  }
  return pure();
}

let chosen: LoopPolicy | null = null;
let fromEnvironment: LoopPolicy | null = null;

/** For later runs in this thread; null restores the default. No running loop changes. */
export function setLoopPolicy(policy: LoopPolicy | null): void {
  if (policy !== null && typeof policy?.createLoop !== 'function') {
    throw argTypeError('policy', 'a LoopPolicy or null', policy);
  }
  chosen = policy;
}

/** The policy in force: set by `setLoopPolicy`, else by UVIO_POLICY=native|pure, else `pure()`. */
export function getLoopPolicy(): LoopPolicy {
  if (chosen !== null) return chosen;
  fromEnvironment ??= policyByName(process.env['UVIO_POLICY'] ?? '');
  return fromEnvironment;
}

function policyByName(name: string): LoopPolicy {
  if (name === 'native') return native();
  if (name === 'pure' || name === '') return pure();
  throw argTypeError('UVIO_POLICY', "'native' or 'pure'", name);
}

let threadLoop: EventLoop | null = null;

/**
 * The loop of library calls outside of any `run`, made when it is first needed from the policy of
 * that moment, and again when it was closed.
 */
export function defaultLoop(): EventLoop {
  if (threadLoop === null || threadLoop.closed) threadLoop = getLoopPolicy().createLoop();
  return threadLoop;
}
