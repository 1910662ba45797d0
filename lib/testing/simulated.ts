/**
 * The policy of simulations: virtual time, a network in memory, an order that follows a seed.
 *
 * In: options. Out: a policy whose loops are simulated, its clock and its trace. Never: real time,
 * a real socket.
 */
import { isIP } from 'node:net';
import { argTypeError, InvalidStateError, rangeError } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import { EventLoop } from '../loop/event-loop.ts';
import type { LoopPolicy } from '../loop/policy.ts';
import { SimulatedBackend, type SimulatedBackendOptions } from '../loop/simulated/backend.ts';
import { PolicyClock, type VirtualClock } from './clock.ts';
import { RunMonitor, Trace } from './monitor.ts';

export type { VirtualClock } from './clock.ts';

export interface SimulationOptions {
  /** Default 0: creation order. Another seed shuffles what is allowed to be shuffled. */
  seed?: number;
  /** Default true. See VirtualClock. */
  autoJump?: boolean;
  /**
   * One-way time of everything on the network, in virtual ms; from a range it is drawn anew for
   * each delivery. What one connection carries stays in order, datagrams may overtake one another.
   * Default 0.
   */
  latencyMs?: number | readonly [min: number, max: number];
  /**
   * Share of connections that break, 0 … 1: with ECONNRESET on both sides, at one of their first
   * eight deliveries. Default 0.
   */
  breakRate?: number;
  /** Share of datagrams that are lost, 0 … 1. Default 0. */
  lossRate?: number;
  /** Share of datagrams that arrive twice, 0 … 1. Default 0. */
  duplicateRate?: number;
  /**
   * Names that can be looked up besides 'localhost', each with its addresses. The simulated
   * machine has all of these addresses, so that servers can listen on them.
   */
  hosts?: Readonly<Record<string, string | readonly string[]>>;
}

export interface SimulatedPolicy extends LoopPolicy {
  readonly clock: VirtualClock;
  readonly seed: number;
  /**
   * What ran, in order: the same seed gives the same trace. Each line begins with the virtual
   * time. Of the last run; of a very long one its last 100,000 lines.
   */
  readonly trace: readonly string[];
}

const maxSeed = 2 ** 32 - 1;

function checkLatency(latencyMs: unknown): readonly [number, number] {
  const both = Array.isArray(latencyMs) ? latencyMs : [latencyMs, latencyMs];
  const [min, max] = both as [number, number];
  checkMs('latencyMs', min);
  checkMs('latencyMs', max);
  if (both.length !== 2 || min < 0 || max < min || max === Infinity) {
    throw rangeError('latencyMs', '0 <= min <= max < Infinity', latencyMs);
  }
  return [min, max];
}

function checkRate(name: string, rate: unknown): number {
  if (typeof rate !== 'number') throw argTypeError(name, 'a number', rate);
  if (!(rate >= 0 && rate <= 1)) throw rangeError(name, '0 … 1', rate);
  return rate;
}

function checkHosts(hosts: unknown): ReadonlyMap<string, readonly string[]> {
  if (typeof hosts !== 'object' || hosts === null) {
    throw argTypeError('hosts', 'an object of names and addresses', hosts);
  }
  const checked = new Map<string, readonly string[]>();
  for (const [name, given] of Object.entries(hosts)) {
    const addresses: unknown[] = Array.isArray(given) ? given : [given];
    for (const address of addresses) {
      if (typeof address === 'string' && isIP(address) !== 0) continue;
      throw argTypeError(`hosts['${name}']`, 'one or more IP addresses', address);
    }
    checked.set(name, addresses as string[]);
  }
  return checked;
}

class Simulation implements SimulatedPolicy {
  readonly name = 'simulated';
  readonly clock: PolicyClock;
  readonly seed: number;
  readonly #options: Omit<SimulatedBackendOptions, 'autoJump'>;
  #trace: Trace = new Trace();
  #loop: EventLoop | null = null;

  constructor(options: SimulationOptions) {
    const { seed = 0, autoJump = true, latencyMs = 0, hosts = {} } = options;
    const { breakRate = 0, lossRate = 0, duplicateRate = 0 } = options;
    this.seed = checkInteger('seed', seed, 0, maxSeed);
    if (typeof autoJump !== 'boolean') throw argTypeError('autoJump', 'a boolean', autoJump);
    this.clock = new PolicyClock(autoJump);
    this.#options = {
      seed,
      latencyMs: checkLatency(latencyMs),
      faults: {
        breakRate: checkRate('breakRate', breakRate),
        lossRate: checkRate('lossRate', lossRate),
        duplicateRate: checkRate('duplicateRate', duplicateRate),
      },
      hosts: checkHosts(hosts),
    };
  }

  get trace(): readonly string[] {
    return this.#trace.lines;
  }

  createLoop(): EventLoop {
    if (this.#loop?.running) {
      throw new InvalidStateError('A simulated policy carries one run at a time');
    }
    const { clock } = this;
    const trace = new Trace();
    const monitor = new RunMonitor(trace);
    let backend: SimulatedBackend | undefined;
    const loop = new EventLoop((host) => {
      const options = { ...this.#options, autoJump: clock.autoJump };
      backend = new SimulatedBackend(host, options, monitor);
      return backend;
    });
    const made = backend as unknown as SimulatedBackend;
    monitor.attach(loop, made);
    loop.closeHooks.add(() => clock.release(made));
    clock.follow(made);
    this.#trace = trace;
    this.#loop = loop;
    return loop;
  }
}

/**
 * A policy with virtual time, an in-memory network and a seeded order: `run(main, { policy:
 * simulated() })` takes no real time. One run at a time; each starts at 0. When all tasks wait and
 * no timer is left, the run rejects with a DeadlockError that lists them. (Timers more than 2^40 ms
 * ahead do not count, nor does any while `autoJump` is false and nobody advances the clock.)
 *
 * Time jumps when nothing has been ready for a few turns of Node's loop. Promises of Node's that
 * settle within those, and files, take no virtual time. What needs real time (setTimeout, sockets
 * of node:net, `fetch`) does not hold the clock: set `clock.autoJump` to false around it.
 *
 * What a seed other than 0 shuffles: latencies within their range; the order of events of
 * different connections that fall on the same time, and how many of them are handled in one turn;
 * where a stream of bytes is cut into chunks; which of several listeners on one port accepts;
 * which connections break, and when; which datagrams are lost or doubled, and their order. What no
 * seed touches, as it is promised: the order of callbacks (`callSoon`), of task starts, of timers,
 * of the waiters of a lock or a queue, and of the bytes of a connection.
 *
 * TypeError and RangeError for wrong options. (trio.testing.MockClock, autojump_clock)
 */
export function simulated(options: SimulationOptions = {}): SimulatedPolicy {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  return new Simulation(options);
}
