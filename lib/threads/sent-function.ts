/**
 * A function or module on its way to another thread.
 *
 * In: what the user wants to run. Out: its text or address. Never: a guess; what cannot be sent is
 * refused here, or, when only a parser can tell, by the thread.
 */
import { argTypeError, notSendableError } from '../base/errors.ts';
import type { Call } from './wire.ts';

/**
 * What runs in another thread: a module URL (its default export is called) or a function. A
 * function is sent as its source text: it sees its arguments and globals, nothing around it.
 * `import()` inside it looks from the current directory; `this` is undefined. Arguments and
 * results are structured clones, and `Awaited`: the function may be async. Where a build tool puts
 * helpers of its own into functions, name a module.
 */
export type ThreadFunction<T, A extends unknown[]> = URL | ((...args: A) => T);

const nativeCode = /\{\s*\[native code\]\s*\}\s*$/;
const generators = /^(Async)?GeneratorFunction$/;

/** Throws a TypeError for what cannot be sent. */
export function makeCall(fn: unknown, args: unknown): Call {
  if (!Array.isArray(args)) throw argTypeError('args', 'an array', args);
  if (fn instanceof URL) return { source: null, url: fn.href, args };
  if (typeof fn !== 'function') throw argTypeError('fn', 'a function or a URL', fn);
  const source = Function.prototype.toString.call(fn);
  const why = unsendable(fn, source);
  if (why !== null) throw notSendableError(`The function '${fn.name}'`, why);
  return { source, url: null, args };
}

function unsendable(fn: object, source: string): string | null {
  if (nativeCode.test(source)) return 'native, bound and proxied functions have no source text';
  if (/^class\b/.test(source)) return 'a class cannot be called';
  if (source.startsWith('#') || /^(async\s+|static\s+)?#/.test(source)) {
    return 'a private method means nothing outside of its class';
  }
  if (generators.test(String((fn as { [Symbol.toStringTag]?: string })[Symbol.toStringTag]))) {
    return 'what a generator function returns cannot be copied';
  }
  return null;
}
