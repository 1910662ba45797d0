/**
 * A server of protocols: one transport and one protocol object per connection.
 *
 * In: a factory of protocols. Out: their callbacks. Never: tasks.
 */
import { argTypeError } from '../base/errors.ts';
import type { CallbackContext, StreamHandle } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import type { StreamLimits } from './limits.ts';
import type { StreamProtocol } from './protocols.ts';
import { StreamServer } from './server.ts';
import { StreamTransport } from './transport.ts';

export type ProtocolFactory<P extends StreamProtocol = StreamProtocol> = () => P;

export function checkFactory(factory: unknown): void {
  if (typeof factory !== 'function') {
    throw argTypeError('factory', 'a function that makes a protocol', factory);
  }
}

/** The first steps of a transport, done inside its context. */
class Beginning<P extends StreamProtocol> {
  readonly transport: StreamTransport;
  readonly factory: ProtocolFactory<P>;
  protocol: P | null = null;
  error: unknown = undefined;

  constructor(transport: StreamTransport, factory: ProtocolFactory<P>) {
    this.transport = transport;
    this.factory = factory;
  }
}

function begin(beginning: Beginning<StreamProtocol>): void {
  try {
    beginning.protocol = beginning.factory();
    beginning.transport.protocol = beginning.protocol;
  } catch (error) {
    beginning.protocol = null;
    beginning.error = error;
    return;
  }
  beginning.transport.begin();
}

/**
 * Makes protocol and transport of a new stream and calls `connectionMade`.
 * @throws what the factory threw; the stream is aborted
 */
export function openTransport<P extends StreamProtocol>(
  loop: EventLoop,
  stream: StreamHandle,
  limits: StreamLimits,
  context: CallbackContext,
  factory: ProtocolFactory<P>,
  link?: (transport: StreamTransport) => void,
  Transport: typeof StreamTransport = StreamTransport,
): [StreamTransport, P] {
  const transport = new Transport(loop, stream, limits, context);
  stream.sink = transport;
  link?.(transport);
  transport.tellOpened();
  const beginning = new Beginning<P>(transport, factory);
  context.run(begin, beginning as Beginning<StreamProtocol>);
  if (beginning.protocol === null) {
    transport.abort();
    throw beginning.error;
  }
  return [transport, beginning.protocol];
}

export class ProtocolServer extends StreamServer {
  readonly #factory: ProtocolFactory;
  // One closure for the server, none per connection.
  readonly #link = (transport: StreamTransport): void => this.link(transport);

  constructor(
    loop: EventLoop,
    limits: StreamLimits,
    maxConnections: number,
    factory: ProtocolFactory,
  ) {
    super(loop, limits, maxConnections);
    checkFactory(factory);
    this.#factory = factory;
  }

  protected override open(stream: StreamHandle): void {
    try {
      openTransport(this.loop, stream, this.limits, this.context, this.#factory, this.#link);
    } catch (error) {
      const message = 'Exception in the protocol factory of a server';
      this.loop.callExceptionHandler({ message, error });
    }
  }
}
