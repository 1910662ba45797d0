/**
 * Signals sent to this process, shared by all who want them.
 *
 * In: names of signals and who wants them. Out: one listener of Node's for each signal that
 * somebody wants; its default action is off meanwhile. Never: a listener that stays behind.
 */
import { isMainThread } from 'node:worker_threads';
import {
  argTypeError,
  InvalidStateError,
  notSupportedError,
  systemErrorByCode,
} from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { bindCallback, type Callback, SoonHandle } from '../loop/handles.ts';
import { handledSignals } from '../task/run.ts';
import { checkSignalName } from './child.ts';

/** Who wants a signal. Must not throw. */
export interface SignalTarget {
  /** @internal */
  onSignal(signal: NodeJS.Signals): void;
}

const targets: Map<NodeJS.Signals, Set<SignalTarget>> = new Map();

/** One for all signals: Node would warn of more than ten listeners. */
function onSignal(signal: NodeJS.Signals): void {
  for (const target of [...(targets.get(signal) ?? [])]) target.onSignal(signal);
}

/**
 * @throws TypeError for an unknown name; EINVAL for those that no process can handle; ENOTSUP in a
 *   worker thread, which gets no signals
 */
export function checkSignal(signal: unknown): asserts signal is NodeJS.Signals {
  checkSignalName(signal);
  if (signal === 'SIGKILL' || signal === 'SIGSTOP') {
    throw systemErrorByCode('EINVAL', 'sigaction', signal);
  }
  if (!isMainThread) throw notSupportedError('sigaction', 'a worker thread gets no signals');
}

export function addTarget(signal: NodeJS.Signals, target: SignalTarget): void {
  let wanting = targets.get(signal);
  if (wanting === undefined) {
    process.on(signal, onSignal);
    wanting = new Set();
    targets.set(signal, wanting);
    handledSignals.add(signal);
  }
  wanting.add(target);
}

/** With the last one the default action is back. */
export function removeTarget(signal: NodeJS.Signals, target: SignalTarget): void {
  const wanting = targets.get(signal);
  if (wanting === undefined || !wanting.delete(target) || wanting.size > 0) return;
  targets.delete(signal);
  handledSignals.delete(signal);
  process.off(signal, onSignal);
}

/** A callback of `loop.addSignalHandler`. */
class Handler implements SignalTarget {
  readonly #loop: EventLoop;
  /** With the variables of whoever added it. */
  readonly #callback: Callback;

  constructor(loop: EventLoop, callback: Callback) {
    this.#loop = loop;
    this.#callback = bindCallback(callback, []);
  }

  onSignal(): void {
    this.#loop.enqueue(new SoonHandle(this.#callback));
  }
}

/** The handlers of a loop: one for each signal. They end with it. */
const handlers: WeakMap<EventLoop, Map<NodeJS.Signals, Handler>> = new WeakMap();

function handlersOf(loop: EventLoop): Map<NodeJS.Signals, Handler> {
  let own = handlers.get(loop);
  if (own === undefined) {
    const made = new Map<NodeJS.Signals, Handler>();
    loop.closeHooks.add(() => {
      for (const signal of [...made.keys()]) removeHandler(loop, signal);
    });
    handlers.set(loop, made);
    own = made;
  }
  return own;
}

export function addHandler(loop: EventLoop, signal: NodeJS.Signals, callback: Callback): void {
  checkSignal(signal);
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  const own = handlersOf(loop);
  const before = own.get(signal);
  const handler = new Handler(loop, callback);
  own.set(signal, handler);
  addTarget(signal, handler);
  if (before !== undefined) removeTarget(signal, before);
}

export function removeHandler(loop: EventLoop, signal: NodeJS.Signals): boolean {
  checkSignalName(signal);
  const own = handlers.get(loop);
  const handler = own?.get(signal);
  if (own === undefined || handler === undefined) return false;
  own.delete(signal);
  removeTarget(signal, handler);
  return true;
}
