/**
 * What runs in a worker thread or a child process. Only the text of these functions goes there:
 * a program that is no file also works when uvio was bundled into one.
 *
 * In: calls, one at a time. Out: replies. Never: a name from outside of the functions listed
 * below, nor an import: neither is there. Nor a function inside one that gets a name, since
 * esbuild's keepNames wraps it in a call of a helper that is not there.
 */
import type { Answer, Call, ErrorParts, Reply, Thrown } from './wire.ts';

type AnyFunction = (...args: unknown[]) => unknown;

/** A thrown value in parts that can be copied. A chain of causes ends at its ninth. */
function describeThrown(thrown: unknown, depth: number): Thrown {
  const { inspect, types } = process.getBuiltinModule('node:util');
  if (types.isNativeError(thrown) || thrown instanceof Error) {
    return { error: describeError(thrown as Error, depth) };
  }
  try {
    return { error: null, value: structuredClone(thrown) };
  } catch {
    const text = `A value that cannot be copied was thrown: ${inspect(thrown)}`;
    return { error: describeError(new Error(text), depth) };
  }
}

function describeError(error: Error, depth: number): ErrorParts {
  const bases = [AggregateError, DOMException, EvalError, RangeError, ReferenceError];
  const known = [...bases, SyntaxError, TypeError, URIError].find((base) => error instanceof base);
  const base = (known ?? Error).name;
  const own = error.constructor?.name || base;
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (key === 'name' || key === 'message' || key === 'stack' || key === 'cause') continue;
    try {
      fields[key] = structuredClone(value);
    } catch {
      // What cannot be copied stays behind.
    }
  }
  const inner = depth < 8;
  const listed = inner && error instanceof AggregateError ? error.errors : [];
  return {
    base,
    // A class that does not set `name` inherits that of its base.
    name: String(error.name === base && base !== 'DOMException' ? own : error.name),
    message: String(error.message),
    stack: error.stack,
    cause: inner && 'cause' in error ? describeThrown(error.cause, depth + 1) : null,
    errors: listed.map((one: unknown) => describeThrown(one, depth + 1)),
    fields,
  };
}

function notSendable(what: string, cause: unknown): Error {
  const text = `${what}: ${cause instanceof Error ? cause.message : String(cause)}`;
  return Object.assign(new TypeError(text, { cause }), { code: 'ERR_UVIO_NOT_SENDABLE' });
}

/** esbuild's keepNames, and so tsx, puts calls of a helper `__name` into functions. */
function wrapSource(source: string): string {
  const body = `'use strict';((__name) => (${source}\n))((target) => target)`;
  return `${body}\n//# sourceURL=uvio-function`;
}

/**
 * The function of a text: an expression, or a method as it stands in an object or class. By eval,
 * since import() in code from node:vm needs an experimental option, and here works as in a file of
 * the current directory.
 */
function compileFunction(source: string): AnyFunction {
  // biome-ignore lint/security/noGlobalEval: to run the text of a function is what this is for.
  const evaluate = globalThis.eval;
  try {
    return evaluate(wrapSource(source)) as AnyFunction;
  } catch (error) {
    try {
      const holder = evaluate(wrapSource(`{${source}}`)) as Record<string | symbol, unknown>;
      const fn = holder[Reflect.ownKeys(holder)[0] as string];
      if (typeof fn === 'function') return fn as AnyFunction;
    } catch {
      // The first error says more.
    }
    throw notSendable('The source text of the function does not stand on its own', error);
  }
}

async function importDefault(url: string): Promise<AnyFunction> {
  // Not written out: some build tools replace import() by a function of their own.
  // biome-ignore lint/security/noGlobalEval: a constant.
  const load = globalThis.eval('(url) => import(url)');
  const module = (await load(url)) as { default?: unknown };
  if (typeof module.default === 'function') return module.default as AnyFunction;
  throw new TypeError(`The default export of ${url} is not a function`);
}

/** console.log of a thread is passed on by the starting thread: it may still be on its way. */
async function flushOutput(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
  }
}

async function findFunction(
  { source, url }: Call,
  compiled: Map<string, AnyFunction>,
): Promise<AnyFunction> {
  if (source === null) return importDefault(url as string);
  let fn = compiled.get(source);
  if (fn === undefined) {
    if (compiled.size >= 256) compiled.clear();
    fn = compileFunction(source);
    compiled.set(source, fn);
  }
  return fn;
}

/** Calls that came. */
interface Count {
  calls: number;
}

function serveCalls(count: Count, send: (answer: Answer) => void): (call: Call) => Promise<void> {
  const compiled = new Map<string, AnyFunction>();
  return async (call) => {
    const number = ++count.calls;
    let reply: Reply;
    try {
      const fn = await findFunction(call, compiled);
      reply = { ok: true, value: await fn(...call.args) };
    } catch (error) {
      reply = { ok: false, thrown: describeThrown(error, 0) };
    }
    await flushOutput();
    try {
      send({ number, reply });
    } catch (error) {
      const what = 'The result cannot be sent to another thread';
      const thrown = describeThrown(notSendable(what, error), 0);
      send({ number, reply: { ok: false, thrown } });
    }
  };
}

/** An argument arrived that cannot be made here. */
function badArguments(error: unknown): Reply {
  const what = 'The arguments cannot be sent to another thread';
  return { ok: false, thrown: describeThrown(notSendable(what, error), 0) };
}

function startThread(): void {
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  const port = parentPort as NonNullable<typeof parentPort>;
  const count = { calls: 0 };
  port.on(
    'message',
    serveCalls(count, (answer) => port.postMessage(answer)),
  );
  port.on('messageerror', (error) => {
    port.postMessage({ number: ++count.calls, reply: badArguments(error) });
  });
}

function startProcess(): void {
  const serve = serveCalls({ calls: 0 }, (answer) => void process.send?.(answer));
  process.on('message', serve as (message: unknown) => void);
  process.on('disconnect', () => process.exit());
  // Ctrl-C reaches the whole group. The parent cancels its tasks, and those end this process.
  process.on('SIGINT', () => {});
}

function programOf(start: () => void): string {
  const parts = [
    describeThrown,
    describeError,
    notSendable,
    wrapSource,
    compileFunction,
    importDefault,
    flushOutput,
    findFunction,
    serveCalls,
    badArguments,
  ];
  return `'use strict';(() => {\n${parts.join('\n')}\n(${start})();\n})();`;
}

/** For `new Worker(text, { eval: true })`. */
export function threadProgram(): string {
  return programOf(startThread);
}

/** For a Node that reads its program from stdin. */
export function processProgram(): string {
  return programOf(startProcess);
}
