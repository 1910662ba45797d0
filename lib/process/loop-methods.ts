/**
 * The loop's methods for subprocesses and signals.
 *
 * In: protocol factories and callbacks. Out: transports; calls in the loop's turns. Never: exports;
 * it adds to EventLoop.
 */
import { EventLoop } from '../loop/event-loop.ts';
import type { SubprocessOptions } from './options.ts';
import type { SubprocessProtocol, SubprocessTransport } from './protocols.ts';
import { addHandler, removeHandler } from './signals.ts';
import { startTransport } from './transport.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    /**
     * Makes the protocol, starts the program and calls `connectionMade`. Callbacks run without a
     * current task, in the caller's context variables. Options, errors and cancellation as
     * `createSubprocessExec`; what the factory throws. (asyncio: loop.subprocess_exec)
     */
    subprocessExec<P extends SubprocessProtocol>(
      factory: () => P,
      command: readonly [program: string, ...args: string[]],
      options?: SubprocessOptions,
    ): Promise<[SubprocessTransport, P]>;
    /**
     * Calls back in the loop's next turn whenever the signal comes, instead of its default action
     * and of `run`'s. One callback a signal: a second one replaces the first. Ends with the loop.
     * It does not keep the process alive. Errors as `openSignalReceiver`; InvalidStateError on a
     * closed loop. (asyncio: loop.add_signal_handler)
     */
    addSignalHandler(signal: NodeJS.Signals, callback: () => void): void;
    /** False when there was none. With the last one the default action is back. */
    removeSignalHandler(signal: NodeJS.Signals): boolean;
  }
}

EventLoop.prototype.subprocessExec = async function <P extends SubprocessProtocol>(
  this: EventLoop,
  factory: () => P,
  command: readonly [program: string, ...args: string[]],
  options: SubprocessOptions = {},
): Promise<[SubprocessTransport, P]> {
  return startTransport(this, factory, command, options);
};

EventLoop.prototype.addSignalHandler = function addSignalHandler(
  this: EventLoop,
  signal: NodeJS.Signals,
  callback: () => void,
): void {
  addHandler(this, signal, callback);
};

EventLoop.prototype.removeSignalHandler = function removeSignalHandler(
  this: EventLoop,
  signal: NodeJS.Signals,
): boolean {
  return removeHandler(this, signal);
};
