/**
 * Calls from other threads into a loop: by name, since functions cannot be sent.
 *
 * In: messages `[name, ...args]` on the loop's BroadcastChannel. Out: the registered function,
 * called by the loop. Never: a channel that keeps the process alive, or one before it is asked for.
 */
import { BroadcastChannel, receiveMessageOnPort, threadId } from 'node:worker_threads';
import { argTypeError, InvalidStateError } from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { frameStorage } from '../task/frame.ts';

type AnyFunction = (...args: unknown[]) => void;

let lastGate = 0;
const gates: WeakMap<EventLoop, Gate> = new WeakMap();

class Gate {
  readonly name: string;
  readonly functions: Map<string, AnyFunction> = new Map();
  readonly #loop: EventLoop;
  readonly #channel: BroadcastChannel;

  constructor(loop: EventLoop) {
    this.name = `uvio-loop-${threadId}-${++lastGate}`;
    this.#loop = loop;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = (event) => this.#dispatch((event as { data: unknown }).data);
    this.#channel.onmessageerror = () => this.#report('arguments that cannot be copied');
    this.#channel.unref();
    loop.closeHooks.add(() => this.#channel.close());
  }

  /** Takes what has come and was not delivered yet. */
  drain(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#channel as never);
      if (received === undefined) return;
      this.#dispatch(received.message);
    }
  }

  /** In the next turn, in no task's context. */
  call(fn: AnyFunction, args: unknown[]): void {
    frameStorage.run(undefined, () => void this.#loop.callSoon(fn, ...args));
  }

  #dispatch(message: unknown): void {
    if (this.#loop.closed) return;
    const [name, ...args]: unknown[] = Array.isArray(message) ? message : [];
    const fn = this.functions.get(name as string);
    if (fn !== undefined) this.call(fn, args);
    else this.#report(`no registered function: ${String(name)}`);
  }

  #report(what: string): void {
    const message = `A call from another thread had ${what}`;
    this.#loop.callExceptionHandler({ message, error: new Error(message) });
  }
}

function gateOf(loop: EventLoop): Gate {
  let gate = gates.get(loop);
  if (gate === undefined) {
    if (loop.closed) throw new InvalidStateError('The loop is closed');
    gate = new Gate(loop);
    gates.set(loop, gate);
  }
  return gate;
}

/**
 * Puts calls that other threads made so far into the loop's ready queue. True when some may be
 * there: what is to be seen after them goes the same way.
 */
export function drainThreadsafe(loop: EventLoop): boolean {
  const gate = gates.get(loop);
  if (gate === undefined || loop.closed) return false;
  gate.drain();
  return true;
}

export function channelOf(loop: EventLoop): string {
  return gateOf(loop).name;
}

export function register(loop: EventLoop, name: string, fn: AnyFunction): Disposable {
  if (typeof name !== 'string') throw argTypeError('name', 'a string', name);
  if (typeof fn !== 'function') throw argTypeError('fn', 'a function', fn);
  const { functions } = gateOf(loop);
  if (functions.has(name)) throw new InvalidStateError(`'${name}' is registered already`);
  functions.set(name, fn);
  return {
    [Symbol.dispose]: () => {
      if (functions.get(name) === fn) functions.delete(name);
    },
  };
}

export function callByName(loop: EventLoop, name: string, args: unknown[]): void {
  const gate = gates.get(loop);
  const fn = gate?.functions.get(name);
  if (fn === undefined) throw argTypeError('name', 'the name of a registered function', name);
  gate?.call(fn, args);
}
