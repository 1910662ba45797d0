/**
 * The backend of a simulation: time that jumps, a network in memory, chance from a seed.
 *
 * In: the loop's calls, and those of `uvio/testing` (advance, whenIdle). Out: turns, timers and
 * network events, one batch for each turn of Node. Never: the wall clock, Math.random, a socket.
 *
 * Time stands still while anything is ready or due. When nothing was, for `quietTurns` turns of
 * Node in a row, and Node has no request of its own under way (a file that is read …), it jumps to
 * what is due next: a timer, the network, or the end of `advance()`. So a promise from outside
 * that Node settles within a few turns takes no virtual time, while one that needs real time (a
 * real socket, setTimeout) does not hold the clock: set `autoJump` to false around those.
 *
 * At one virtual time the network comes before timers. A seed other than 0 shuffles only what no
 * rule promises: see `simulated()` in lib/testing.
 */
import { InvalidStateError, notFoundError } from '../../base/errors.ts';
import type {
  Backend,
  BackendCounters,
  BackendHost,
  ConnectRequest,
  ConnectSink,
  ConnectTcp,
  DatagramHandle,
  DatagramSink,
  ListenerHandle,
  ListenerSink,
  ListenTcp,
  ListenUnix,
  LookupDone,
  OpenUdp,
  ServiceDone,
} from '../backend.ts';
import { Agenda } from './agenda.ts';
import { ForeignWork } from './foreign.ts';
import { type FaultRates, Network, type NetworkOwner } from './network.ts';
import { Random } from './random.ts';
import type { SimulatedStream } from './stream.ts';

/** Turns of Node without anything before time jumps. */
const quietTurns = 3;
/** Nothing waits for what is later: 34 years. `run` arms such a timer to stay alive. */
const horizonMs = 2 ** 40;
/** How often a clock that waits for something outside looks again, in real ms. */
const pollMs = 1;
/** Looks in a row before requests that never end are no longer waited for. */
const mostPolls = 1000;

export interface SimulatedBackendOptions {
  readonly seed: number;
  readonly autoJump: boolean;
  readonly latencyMs: readonly [min: number, max: number];
  readonly faults: FaultRates;
  /** Names, and the addresses that this machine has besides loopback. */
  readonly hosts: ReadonlyMap<string, readonly string[]>;
}

/** Who looks after the simulation. */
export interface Monitor {
  /** What happened on the network. */
  note(text: string): void;
  /** Work outside of the loop goes on (threads, processes): time must not jump. */
  busyOutside(): boolean;
  /**
   * Nothing is due and nothing can come. `mayCome`: except from outside.
   * True: look again after a while.
   */
  stuck(mayCome: boolean): boolean;
}

interface Target {
  readonly atMs: number;
  readonly done: () => void;
}

export class SimulatedBackend implements Backend, NetworkOwner {
  readonly name = 'simulated' as const;
  readonly host: BackendHost;
  /** Null with seed 0. */
  readonly shuffle: Random | null;
  readonly dice: Random;
  /** TCP's, without scaling. */
  readonly windowBytes: number = 65_535;
  readonly network: Network;
  readonly #monitor: Monitor;
  readonly #latencyMs: readonly [min: number, max: number];
  readonly #agenda: Agenda = new Agenda();
  readonly #foreign: ForeignWork = new ForeignWork();
  readonly #pump: () => void;
  #autoJump: boolean;
  #nowMs = 0;
  #armedMs: number = Infinity;
  #timerRef = false;
  #turnAsked = false;
  #targets: Target[] = [];
  #idleCalls: (() => void)[] = [];
  #immediate: NodeJS.Immediate | undefined;
  #poll: NodeJS.Timeout | undefined;
  #polls = 0;
  #quiet = 0;
  /** The armed deadline is being asked for: that is no activity. */
  #refreshing = false;
  #closing = false;
  #closed: (() => void) | undefined;

  constructor(host: BackendHost, options: SimulatedBackendOptions, monitor: Monitor) {
    this.host = host;
    this.dice = new Random(options.seed);
    this.shuffle = options.seed === 0 ? null : this.dice;
    this.#monitor = monitor;
    this.#latencyMs = options.latencyMs;
    this.#autoJump = options.autoJump;
    this.network = new Network(this, options.hosts, options.faults);
    this.#pump = (): void => this.#runPump();
  }

  now(): number {
    return this.#nowMs;
  }

  requestTurn(): void {
    if (this.#closing) return;
    this.#turnAsked = true;
    this.#wake();
  }

  armTimer(deadlineMs: number): void {
    if (this.#closing) return;
    this.#armedMs = deadlineMs;
    if (!this.#refreshing) this.#wake();
  }

  setTimerRef(ref: boolean): void {
    this.#timerRef = ref;
    if (ref) this.#immediate?.ref();
  }

  listenTcp(options: ListenTcp, sink: ListenerSink): ListenerHandle {
    return this.network.listenTcp(options, sink);
  }

  listenUnix(options: ListenUnix, sink: ListenerSink): ListenerHandle {
    return this.network.listenUnix(options, sink);
  }

  connectTcp(options: ConnectTcp, sink: ConnectSink): ConnectRequest {
    return this.network.connectTcp(options, sink);
  }

  connectUnix(path: string, sink: ConnectSink): ConnectRequest {
    return this.network.connectUnix(path, sink);
  }

  openUdp(options: OpenUdp, sink: DatagramSink): DatagramHandle {
    return this.network.openUdp(options, sink);
  }

  lookup(hostname: string, family: 0 | 4 | 6, done: LookupDone): () => void {
    const found = this.network.lookup(hostname, family);
    const error = found === null ? notFoundError('getaddrinfo', hostname) : null;
    return this.#answer(() => done(error, found ?? []));
  }

  lookupService(address: string, port: number, done: ServiceDone): () => void {
    const name = this.network.nameOf(address);
    const error = name === null ? notFoundError('getnameinfo', address) : null;
    return this.#answer(() => done(error, name ?? '', String(port)));
  }

  /** What a resolver says, after its time. Returns how to call it off. */
  #answer(tell: () => void): () => void {
    const happening = this.#agenda.add(this.#nowMs + this.latency(), this.#rank(), () => {
      this.callOut(tell);
    });
    this.#wake();
    return (): void => {
      happening.work = null;
    };
  }

  counters(): BackendCounters {
    const { streams, listeners, connecting, datagrams } = this.network;
    let writeBufferBytes = 0;
    for (const stream of streams) writeBufferBytes += stream.bufferedBytes;
    return {
      streams: streams.size,
      listeners: listeners.size,
      connecting: connecting.size,
      datagrams: datagrams.size,
      writeBufferBytes,
    };
  }

  close(done: () => void): void {
    if (this.#closing) throw new InvalidStateError('The backend was closed before');
    this.#closing = true;
    this.#armedMs = Infinity;
    this.#turnAsked = false;
    for (const request of [...this.network.connecting]) request.cancel();
    for (const listener of [...this.network.listeners]) listener.close();
    for (const stream of [...this.network.streams]) stream.abort();
    for (const socket of [...this.network.datagrams]) socket.close();
    this.#closed = done;
    this.ended();
  }

  /** `close` was called. */
  get closing(): boolean {
    return this.#closing;
  }

  get autoJump(): boolean {
    return this.#autoJump;
  }

  set autoJump(jump: boolean) {
    this.#autoJump = jump;
    this.#wake();
  }

  /** `done` when that much virtual time has passed and all that fell due has run. */
  advance(ms: number, done: () => void): () => void {
    const target = { atMs: this.#nowMs + ms, done };
    this.#targets.push(target);
    this.#wake();
    return (): void => {
      this.#targets = this.#targets.filter((one) => one !== target);
    };
  }

  /** `call` when nothing is ready or due, before time jumps. Returns how to call it off. */
  whenIdle(call: () => void): () => void {
    this.#idleCalls.push(call);
    this.#wake();
    return (): void => {
      this.#idleCalls = this.#idleCalls.filter((one) => one !== call);
    };
  }

  /** When something on the network happens next; Infinity: nothing does. */
  nextArrival(): number {
    return this.#agenda.nearest();
  }

  /** Looks for a deadlock when nothing comes any more. */
  watch(): void {
    this.#wake();
  }

  // What the network needs.

  schedule(atMs: number, work: () => void): void {
    this.#agenda.add(atMs, this.#rank(), work);
    this.#wake();
  }

  soon(work: () => void): void {
    this.schedule(this.#nowMs, work);
  }

  latency(): number {
    const [min, max] = this.#latencyMs;
    return min === max ? min : min + this.dice.next() * (max - min);
  }

  /** For jitter and the like. */
  random(): number {
    return this.dice.next();
  }

  pausesHere(): boolean {
    return this.shuffle?.chance(0.2) ?? false;
  }

  note(text: string): void {
    this.#monitor.note(text);
  }

  gone(stream: SimulatedStream): void {
    this.network.streams.delete(stream);
    this.ended();
  }

  ended(): void {
    if (this.#closed === undefined || !this.network.idle) return;
    const done = this.#closed;
    this.#closed = undefined;
    this.#agenda.clear();
    clearTimeout(this.#poll);
    setImmediate(done);
  }

  callOut(call: () => void): boolean {
    const before = this.host.enter();
    try {
      call();
      return true;
    } catch (error) {
      this.host.onError('Exception in an I/O callback', error, undefined);
      return false;
    } finally {
      this.host.leave(before);
    }
  }

  #rank(): number {
    return this.shuffle === null ? 0 : this.shuffle.next();
  }

  #wake(): void {
    this.#quiet = 0;
    this.#polls = 0;
    this.#next();
  }

  /**
   * Another turn. Timers that do not hold the process do not hold it here either; but then Node
   * may sleep before it comes.
   */
  #next(): void {
    const first = this.#immediate === undefined;
    this.#immediate ??= setImmediate(this.#pump);
    const held = this.#timerRef || this.#turnAsked || this.#agenda.nearest() !== Infinity;
    if (held || this.#targets.length + this.#idleCalls.length > 0) this.#immediate.ref();
    else if (first) this.#immediate.unref();
  }

  #runPump(): void {
    this.#immediate = undefined;
    clearTimeout(this.#poll);
    if (this.#runDue()) this.#wake();
    else if (++this.#quiet < quietTurns) this.#next();
    else this.#onQuiet();
  }

  /** Everything of this moment that was there when the turn began; false when nothing was. */
  #runDue(): boolean {
    const agenda = this.#agenda;
    const { added } = agenda;
    let worked = false;
    for (;;) {
      const work = agenda.takeDue(this.#nowMs, added);
      if (work === null) break;
      worked = true;
      work();
      if (this.pausesHere()) break;
    }
    if (this.#armedMs <= this.#nowMs) {
      worked = true;
      this.#armedMs = Infinity;
      this.host.onTimers();
    }
    if (this.#turnAsked) {
      worked = true;
      this.#turnAsked = false;
      this.host.onTurn();
    }
    return worked;
  }

  #onQuiet(): void {
    if (this.#idleCalls.length > 0) {
      const calls = this.#idleCalls;
      this.#idleCalls = [];
      for (const call of calls) call();
      this.#wake();
    } else if (!this.#closing && this.#waitsForOutside()) {
      this.#pollLater();
    } else if (!this.#endAdvance() && !this.#jump() && !this.#closing) {
      if (this.#monitor.stuck(this.#foreign.any)) this.#pollLater();
    }
  }

  #waitsForOutside(): boolean {
    if (this.#monitor.busyOutside()) return true;
    return this.#polls < mostPolls && this.#foreign.requests;
  }

  #pollLater(): void {
    this.#polls++;
    this.#quiet = 0;
    this.#poll = setTimeout(() => this.#next(), pollMs);
  }

  #endAdvance(): boolean {
    const reached = this.#targets.filter((target) => target.atMs <= this.#nowMs);
    if (reached.length === 0) return false;
    this.#targets = this.#targets.filter((target) => target.atMs > this.#nowMs);
    for (const target of reached) target.done();
    this.#wake();
    return true;
  }

  /** To what is due next; false when nothing is, or the clock stands. */
  #jump(): boolean {
    let endMs = Infinity;
    for (const target of this.#targets) endMs = Math.min(endMs, target.atMs);
    if (endMs === Infinity && !this.#autoJump) return false;
    const dueMs = Math.min(this.#nextTimer(), this.#agenda.nearest(), endMs);
    if (this.#turnAsked) {
      this.#wake();
      return true;
    }
    if (dueMs === Infinity || (dueMs >= horizonMs && dueMs !== endMs)) return false;
    this.#nowMs = Math.max(this.#nowMs, dueMs);
    // What is due runs in this very turn: the jump itself is no event.
    if (this.#runDue() || dueMs === endMs) this.#wake();
    else this.#next();
    return true;
  }

  /**
   * A timer that was cancelled leaves its deadline armed. Firing for nothing makes the loop arm
   * the next real one, so that time does not jump for nobody.
   */
  #nextTimer(): number {
    if (this.#armedMs >= horizonMs) return this.#armedMs;
    this.#refreshing = true;
    this.host.onTimers();
    this.#refreshing = false;
    return this.#armedMs;
  }
}
