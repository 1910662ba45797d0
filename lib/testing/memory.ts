/**
 * Connections without a network.
 *
 * In: a size. Out: two connected ends, on any policy. Never: a socket, a handle of the backend.
 */
import { StreamConnection } from '../io/connection.ts';
import { makeLimits, type StreamLimits } from '../io/limits.ts';
import type { Connection } from '../io/net-types.ts';
import type { SocketAddress } from '../loop/backend.ts';
import type { EventLoop, Job } from '../loop/event-loop.ts';
import { type Carrier, SimulatedStream } from '../loop/simulated/stream.ts';
import { currentLoop } from '../task/frame.ts';

/** Under way between the ends. */
const windowBytes = 16 * 1024;

const nowhere: SocketAddress = Object.freeze({ address: '', port: 0, family: 'unix' });

class Step implements Job {
  readonly runJob: () => void;

  constructor(work: () => void) {
    this.runJob = work;
  }
}

/** Everything comes in the next turn of the loop, in order. */
class LoopCarrier implements Carrier {
  readonly host: EventLoop;
  readonly shuffle: null = null;
  readonly windowBytes: number = windowBytes;

  constructor(loop: EventLoop) {
    this.host = loop;
  }

  soon(work: () => void): void {
    this.host.enqueue(new Step(work));
  }

  /** The way between the ends is the same queue. */
  post(work: () => void): void {
    this.host.enqueue(new Step(work));
  }

  note(): void {}
  gone(): void {}
}

/**
 * Two connected ends without a network, on the current loop of any policy. They behave as the ends
 * of a TCP connection do: half-close, back-pressure, a reset by closing with unread bytes. What is
 * written arrives in the next turn of the loop; it takes no virtual time. The addresses are empty.
 * They are no handles of the loop: nothing leaks when they are forgotten.
 * (trio.testing.memory_stream_pair)
 * @param options highWaterBytes: `write` waits above that (default 64 KiB), counted from about 80
 *   KiB on, which the other end reads ahead
 */
export function memoryConnectionPair(
  options: { highWaterBytes?: number } = {},
): [Connection, Connection] {
  const carrier = new LoopCarrier(currentLoop());
  const limits = makeLimits(options);
  const left = new SimulatedStream(carrier, carrier, 'left', nowhere, nowhere);
  const right = new SimulatedStream(carrier, carrier, 'right', nowhere, nowhere);
  SimulatedStream.join(left, right);
  return [connect(left, limits), connect(right, limits)];
}

function connect(stream: SimulatedStream, limits: StreamLimits): Connection {
  const connection = new StreamConnection(stream, limits);
  stream.sink = connection;
  stream.begin();
  return connection;
}
