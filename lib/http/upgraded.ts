/**
 * The beginning of a stream that has left HTTP.
 *
 * In: a transport, what its wire had read already. Out: the same, through its protocol. Never: what
 * comes later.
 */
import type { Buffer } from 'node:buffer';
import { stateOpen } from '../io/stream.ts';
import type { StreamTransport } from '../io/transport.ts';

/** Inside the server's context. */
export function beginUpgraded(step: {
  readonly transport: StreamTransport;
  readonly early: Buffer;
  /** The client's FIN came, too. */
  readonly ended: boolean;
}): void {
  const { transport, early, ended } = step;
  transport.begin();
  if (early.length > 0) transport.onData(early);
  if (ended && transport.state === stateOpen) transport.onEof();
}
