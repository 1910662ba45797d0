/**
 * `loop.startTls`: a transport becomes another one, over TLS.
 *
 * In: a transport, the protocol that goes on, options. Out: the new transport. Never: a second
 * `connectionMade`; a protocol that is not told of the end.
 */
import { argTypeError, ClosedResourceError } from '../../base/errors.ts';
import type { EventLoop } from '../../loop/event-loop.ts';
import { Waiter } from '../../task/waiter.ts';
import type { StartTlsOptions } from '../net-types.ts';
import type { StreamProtocol, Transport } from '../protocols.ts';
import { flagWriteEnded } from '../stream.ts';
import { checkProtocol, StreamTransport } from '../transport.ts';
import { planUpgrade } from './plan.ts';
import { type HandshakeOwner, TlsStream } from './stream.ts';
import { closedMeanwhile } from './upgrade.ts';

class TransportUpgrade extends Waiter<Transport> implements HandshakeOwner {
  transport: StreamTransport | null = null;

  constructor() {
    super('startTls');
  }

  secured(): void {
    this.wake(this.transport as StreamTransport);
  }

  failed(_stream: TlsStream, error: Error): void {
    this.fail(error);
  }

  gone(): void {
    this.fail(closedMeanwhile());
  }

  override onCancel(): void {
    this.transport?.abort();
  }
}

/** @throws TypeError for bad arguments, ClosedResourceError */
export function startTls(
  loop: EventLoop,
  transport: unknown,
  protocol: StreamProtocol,
  options: StartTlsOptions,
): Promise<Transport> {
  if (!(transport instanceof StreamTransport)) {
    throw argTypeError('transport', 'a transport of a connection', transport);
  }
  checkProtocol(protocol);
  const plan = planUpgrade(loop, options);
  if (transport.closing) throw new ClosedResourceError('The transport was closed');
  if (transport.has(flagWriteEnded)) throw new ClosedResourceError('startTls after writeEof()');
  const upgrade = new TransportUpgrade();
  const promise = upgrade.start(options);
  if (!upgrade.active) return promise;
  const stream = new TlsStream(loop, transport.handle, plan, upgrade);
  const fresh = transport.replaceBy(stream, protocol);
  upgrade.transport = fresh;
  try {
    stream.begin();
  } catch (error) {
    fresh.abort();
    upgrade.fail(error);
  }
  return promise;
}
