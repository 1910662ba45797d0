/**
 * A datagram socket seen through callbacks: drives a DatagramProtocol.
 *
 * In: datagrams of the backend (it is a DatagramSink). Out: calls of the protocol. Never: a promise
 * that somebody has to await.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, type Data } from '../base/errors.ts';
import type { CallbackContext, SocketAddress } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { captureContext } from './callback-context.ts';
import {
  DatagramEndpoint,
  type HandleOpener,
  type Opening,
  type Target,
} from './datagram-endpoint.ts';
import { checkWaterMarks, defaultLimits } from './limits.ts';
import type { UdpOptions } from './net-types.ts';
import { checkUdp, openDatagram, type UdpPlan } from './open-datagram.ts';
import type { DatagramProtocol, DatagramTransport } from './protocols.ts';
import { resolveName } from './resolve.ts';

/** (asyncio.DatagramTransport) */
export class UdpTransport extends DatagramEndpoint implements DatagramTransport {
  /** @internal */
  readonly context: CallbackContext;
  readonly tls: null = null;
  #protocol: DatagramProtocol = noProtocol;
  /** `connectionMade` was called. */
  #begun = false;
  #overHighWater = false;
  #lowWaterBytes: number = defaultLimits.lowWaterBytes;
  #highWaterBytes: number = defaultLimits.highWaterBytes;
  /** How to stop the look-ups that sends wait for. */
  readonly #lookups: Set<() => void> = new Set();

  constructor(
    loop: EventLoop,
    plan: UdpPlan,
    context: CallbackContext,
    opening: Opening,
    open: HandleOpener,
  ) {
    super(loop, plan.lookup, opening, open);
    this.context = context;
  }

  /** The protocol's first callback. @internal */
  begin(): void {
    this.#begun = true;
    this.#call('connectionMade', () => this.#protocol.connectionMade?.(this));
  }

  get protocol(): DatagramProtocol {
    return this.#protocol;
  }

  set protocol(protocol: DatagramProtocol) {
    if (typeof protocol?.datagramReceived !== 'function') {
      throw argTypeError('protocol', 'an object with datagramReceived()', protocol);
    }
    this.#protocol = protocol;
  }

  get fd(): number | null {
    return this.gone ? null : this.handle.fd;
  }

  get writeBufferBytes(): number {
    return this.closing ? 0 : this.handle.bufferedBytes;
  }

  setWriteBufferLimits(limits: { lowBytes?: number; highBytes?: number }): void {
    const marks = checkWaterMarks(limits?.lowBytes, limits?.highBytes);
    this.#lowWaterBytes = marks.lowWaterBytes;
    this.#highWaterBytes = marks.highWaterBytes;
    if (this.closing) return;
    if (this.#overHighWater) this.handle.notifyDrain(marks.lowWaterBytes);
    else this.#checkHighWater(this.handle.bufferedBytes);
  }

  sendTo(data: Data, address?: { host: string; port: number }): void {
    const target = this.targetOf(address);
    const bytes = this.checkSend(data, target);
    if (this.closing) return;
    if (target.named) this.#sendToName(bytes, target);
    else this.#checkHighWater(this.handle.send(bytes, target.host, target.port));
  }

  #sendToName(data: Data, target: Target): void {
    // Taken now: the caller may reuse its memory.
    const bytes = typeof data === 'string' ? data : Buffer.from(data);
    const family = this.localAddress.family === 'IPv6' ? 0 : 4;
    const host = target.host as string;
    const stop = resolveName(this.loop, host, family, this.lookup, (failed, found) => {
      this.#lookups.delete(stop);
      if (this.closing) return;
      try {
        if (failed !== null) throw failed;
        const address = this.firstOf(found, target);
        this.#checkHighWater(this.handle.send(bytes, address, target.port));
      } catch (error) {
        this.context.run((reason: Error) => this.onError(reason), error as Error);
      }
    });
    this.#lookups.add(stop);
  }

  #checkHighWater(bufferedBytes: number): void {
    if (bufferedBytes <= this.#highWaterBytes || this.#overHighWater) return;
    this.#overHighWater = true;
    this.handle.notifyDrain(this.#lowWaterBytes);
    this.#call('pauseWriting', () => this.#protocol.pauseWriting?.());
  }

  /** @internal */
  protected override ended(): void {
    for (const stop of this.#lookups) stop();
    this.#lookups.clear();
  }

  /** @internal */
  protected override get overHighWater(): boolean {
    return this.#overHighWater;
  }

  /** @internal */
  onDatagram(data: Buffer, address: SocketAddress): void {
    try {
      this.#protocol.datagramReceived(data, address);
    } catch (error) {
      this.#report('datagramReceived', error);
    }
  }

  /** @internal */
  onError(error: Error): void {
    this.#call('errorReceived', () => this.#protocol.errorReceived?.(error));
  }

  /** @internal */
  onDrain(): void {
    if (!this.#overHighWater) return;
    this.#overHighWater = false;
    this.#call('resumeWriting', () => this.#protocol.resumeWriting?.());
  }

  /** @internal */
  override onClosed(): void {
    super.onClosed();
    this.ended();
    if (this.#begun) this.#call('connectionLost', () => this.#protocol.connectionLost?.());
  }

  /** A callback that throws is reported; the socket goes on: one datagram must not end a server. */
  #call(callback: string, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#report(callback, error);
    }
  }

  #report(callback: string, error: unknown): void {
    const message = `Exception in protocol.${callback}()`;
    this.loop.callExceptionHandler({ message, error, transport: this });
  }
}

/** Before the protocol is made. */
const noProtocol: DatagramProtocol = { datagramReceived: () => {} };

/** The way of `loop.createDatagramEndpoint`. */
export function openTransport<P extends DatagramProtocol>(
  loop: EventLoop,
  factory: () => P,
  options: UdpOptions,
): Promise<[DatagramTransport, P]> {
  const plan = checkUdp(options);
  const context = captureContext(loop);
  const make = (opening: Opening, open: HandleOpener): UdpTransport => {
    return new UdpTransport(loop, plan, context, opening, open);
  };
  return openDatagram(loop, plan, options, make, (transport): [DatagramTransport, P] => {
    let protocol: P | undefined;
    let failed: { error: unknown } | null = null;
    context.run((begun: UdpTransport) => {
      try {
        protocol = factory();
        begun.protocol = protocol;
      } catch (error) {
        failed = { error };
        return;
      }
      begun.begin();
    }, transport);
    if (failed !== null) throw (failed as { error: unknown }).error;
    return [transport, protocol as P];
  });
}
