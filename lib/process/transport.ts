/**
 * A subprocess that drives a protocol.
 *
 * In: a child and its pipes. Out: calls of the protocol, in the context of whoever started it.
 * Never: a promise; a call after `connectionLost`.
 */
import type { Buffer } from 'node:buffer';
import { argTypeError } from '../base/errors.ts';
import { captureContext } from '../io/callback-context.ts';
import { defaultLimits } from '../io/limits.ts';
import { checkFactory } from '../io/protocol-server.ts';
import type { BaseProtocol, Protocol, ReadTransport, WriteTransport } from '../io/protocols.ts';
import { StreamTransport } from '../io/transport.ts';
import type { CallbackContext } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { type Child, type ChildObserver, startChild } from './child.ts';
import { planCommand, type SubprocessOptions } from './options.ts';
import type { PipeHandle } from './pipe-handle.ts';
import type { SubprocessProtocol, SubprocessTransport } from './protocols.ts';

/** What a pipe's own transport talks to: passes on to the protocol of the process. */
class PipeProtocol implements Protocol {
  readonly #process: ProcessTransport;
  readonly #fd: number;

  constructor(process: ProcessTransport, fd: number) {
    this.#process = process;
    this.#fd = fd;
  }

  dataReceived(data: Buffer): void {
    this.#process.protocol.pipeDataReceived?.(this.#fd, data);
  }

  pauseWriting(): void {
    this.#process.protocol.pauseWriting?.();
  }

  resumeWriting(): void {
    this.#process.protocol.resumeWriting?.();
  }

  connectionLost(error?: Error): void {
    this.#process.pipeLost(this.#fd, error);
  }
}

/** Standard input has one half only: its end is the end of the pipe. */
class InputTransport extends StreamTransport {
  override writeEof(): void {
    super.writeEof();
    this.close();
  }
}

export class ProcessTransport implements SubprocessTransport, ChildObserver {
  readonly #loop: EventLoop;
  readonly #child: Child;
  readonly #context: CallbackContext;
  readonly #pipes: readonly (StreamTransport | null)[];
  #protocol: SubprocessProtocol;
  #openPipes = 0;
  #closing = false;

  constructor(
    loop: EventLoop,
    child: Child,
    context: CallbackContext,
    protocol: SubprocessProtocol,
  ) {
    this.#loop = loop;
    this.#child = child;
    this.#context = context;
    this.#protocol = protocol;
    child.observer = this;
    this.#pipes = child.pipes.map((pipe, fd) => (pipe === null ? null : this.#open(pipe, fd)));
  }

  /** The protocol's first callback. */
  begin(): void {
    this.#call('connectionMade', () => this.#protocol.connectionMade?.(this));
  }

  get pid(): number {
    return this.#child.pid;
  }

  get exitCode(): number | null {
    return this.#child.returnCode;
  }

  get closing(): boolean {
    return this.#closing;
  }

  get fd(): null {
    return null;
  }

  get localAddress(): null {
    return null;
  }

  get remoteAddress(): null {
    return null;
  }

  get tls(): null {
    return null;
  }

  get protocol(): SubprocessProtocol {
    return this.#protocol;
  }

  set protocol(protocol: BaseProtocol) {
    this.#protocol = checkProtocol(protocol);
  }

  getPipeTransport(fd: number): ReadTransport | WriteTransport | null {
    return this.#pipes[fd] ?? null;
  }

  sendSignal(signal: NodeJS.Signals): void {
    this.#child.sendSignal(signal);
  }

  terminate(): void {
    this.#child.sendSignal('SIGTERM');
  }

  kill(): void {
    this.#child.sendSignal('SIGKILL');
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    for (const pipe of this.#pipes) pipe?.abort();
    this.#child.discard();
  }

  abort(): void {
    this.close();
  }

  /** @internal */
  onChildExit(): void {
    this.#call('processExited', () => this.#protocol.processExited?.());
    this.#checkLost();
  }

  /** @internal */
  pipeLost(fd: number, error: Error | undefined): void {
    this.#openPipes--;
    this.#call('pipeConnectionLost', () => this.#protocol.pipeConnectionLost?.(fd, error));
    this.#checkLost();
  }

  #open(pipe: PipeHandle, fd: number): StreamTransport {
    const Transport = fd === 0 ? InputTransport : StreamTransport;
    const transport = new Transport(this.#loop, pipe, defaultLimits, this.#context);
    pipe.sink = transport;
    transport.protocol = new PipeProtocol(this, fd);
    this.#openPipes++;
    return transport;
  }

  #checkLost(): void {
    if (this.#child.returnCode === null || this.#openPipes > 0) return;
    this.#closing = true;
    this.#call('connectionLost', () => this.#protocol.connectionLost?.());
  }

  /** An error in a callback is reported, and ends nothing but the callback. */
  #call(name: string, callback: () => void): void {
    const before = this.#loop.enter();
    try {
      this.#context.run(callback, undefined);
    } catch (error) {
      const message = `Exception in protocol.${name}()`;
      this.#loop.callExceptionHandler({ message, error, transport: this });
    } finally {
      this.#loop.leave(before);
    }
  }
}

function checkProtocol(protocol: unknown): SubprocessProtocol {
  if (typeof protocol === 'object' && protocol !== null) return protocol as SubprocessProtocol;
  throw argTypeError('protocol', 'an object', protocol);
}

/** The way of `loop.subprocessExec`: the factory comes first, so that its error starts nothing. */
export async function startTransport<P extends SubprocessProtocol>(
  loop: EventLoop,
  factory: () => P,
  command: readonly [program: string, ...args: string[]],
  options: SubprocessOptions,
): Promise<[ProcessTransport, P]> {
  checkFactory(factory);
  const plan = planCommand(command, options);
  const context = captureContext(loop);
  const protocol = factory();
  checkProtocol(protocol);
  const child = await startChild(loop, plan, options);
  const transport = new ProcessTransport(loop, child, context, protocol);
  transport.begin();
  return [transport, protocol];
}
