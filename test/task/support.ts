/** Runs a test's body as a main task and checks that it leaves no task and no timer. */
import { expect, test } from 'vitest';
import type { Backend, BackendHost } from '../../lib/loop/backend.ts';
import { type LoopPolicy, makePolicy } from '../../lib/loop/policy.ts';
import { Runner, type RunOptions } from '../../lib/task/run.ts';
import { testPolicy } from '../support/policy.ts';

/** Longer than any test waits. */
export const never = 60_000;

export async function inRun<T>(main: () => T | PromiseLike<T>, options?: RunOptions): Promise<T> {
  const runner = new Runner({ policy: testPolicy(), handleSignals: false, ...options });
  try {
    const result = await runner.run(main);
    const { tasks, timers } = runner.loop.metrics();
    expect({ tasks, timers }).toEqual({ tasks: 0, timers: 0 });
    return result;
  } finally {
    await runner.close();
  }
}

/** A test whose body is the main task of a run on the tested policy. */
export function runTest(title: string, main: () => unknown): void {
  test(title, () => inRun(main) as Promise<void>);
}

/** The same on a clock that jumps to the next timer: exact times, no waiting. */
export function virtualTest(title: string, main: () => unknown): void {
  test(title, () => inRun(main, { policy: virtualPolicy() }) as Promise<void>);
}

export function virtualPolicy(): LoopPolicy {
  return makePolicy('virtual', (host) => new VirtualBackend(host));
}

/** What it was rejected with; fails when it was not. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at fields of many classes.
export async function failure(work: PromiseLike<unknown> | (() => unknown)): Promise<any> {
  let result: unknown;
  try {
    result = await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return error;
  }
  throw new Error(`expected a failure, got ${String(result)}`);
}

/** Only turns and timers. */
class VirtualBackend implements Backend {
  readonly name = 'simulated';
  readonly #host: BackendHost;
  #nowMs = 0;
  #armedMs: number = Infinity;
  #turn = false;
  #watching = false;

  constructor(host: BackendHost) {
    this.#host = host;
  }

  now(): number {
    return this.#nowMs;
  }

  requestTurn(): void {
    if (this.#turn) return;
    this.#turn = true;
    setImmediate(() => {
      this.#turn = false;
      this.#host.onTurn();
    });
  }

  armTimer(deadlineMs: number): void {
    this.#armedMs = deadlineMs;
    this.#watch(3);
  }

  /** Time moves on when nothing was asked for during some turns of Node. */
  #watch(turns: number): void {
    if (this.#watching || this.#armedMs === Infinity) return;
    this.#watching = true;
    setImmediate(() => {
      this.#watching = false;
      if (this.#turn) this.#watch(3);
      else if (turns > 0) this.#watch(turns - 1);
      else this.#jump();
    });
  }

  #jump(): void {
    this.#nowMs = Math.max(this.#nowMs, this.#armedMs);
    this.#armedMs = Infinity;
    this.#host.onTimers();
    this.#watch(3);
  }

  setTimerRef(): void {}

  listenTcp(): never {
    throw new Error('no network here');
  }

  listenUnix(): never {
    throw new Error('no network here');
  }

  connectTcp(): never {
    throw new Error('no network here');
  }

  connectUnix(): never {
    throw new Error('no network here');
  }

  lookup(): never {
    throw new Error('no network here');
  }

  counters(): ReturnType<Backend['counters']> {
    return { streams: 0, listeners: 0, connecting: 0, writeBufferBytes: 0 };
  }

  close(done: () => void): void {
    this.#armedMs = Infinity;
    setImmediate(done);
  }
}
