/**
 * One child process: its pipes, its end, and what its loop does with it.
 *
 * In: a checked plan. Out: handles of its pipes, waits for its end, signals to it. Never: a zombie,
 * an open pipe or a kill timer that stays after the end; a child that outlives its loop.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { InvalidStateError, type WaitOptions } from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { refusedNow } from '../sync/entry.ts';
import { cancelledPromise, checkSignal, takeCancellation, Waiter } from '../task/waiter.ts';
import type { SpawnPlan } from './options.ts';
import { PipeHandle } from './pipe-handle.ts';
import { openSocketPair, type SocketPair } from './socket-pair.ts';

/** Told at once when the process has ended. */
export interface ChildObserver {
  onChildExit(): void;
}

class ExitWaiter extends Waiter<number> {
  readonly #waiters: Set<ExitWaiter>;

  constructor(waiters: Set<ExitWaiter>) {
    super('process.wait');
    this.#waiters = waiters;
  }

  override onCancel(): void {
    this.#waiters.delete(this);
  }
}

export class Child {
  readonly loop: EventLoop;
  readonly pid: number;
  /** As it was given: for messages. */
  readonly program: string;
  /** By file descriptor of the child; null where it is not a pipe of its own. */
  readonly pipes: readonly [PipeHandle | null, PipeHandle | null, PipeHandle | null];
  /** The exit code; minus the signal's number after a signal; null while it runs. */
  returnCode: number | null = null;
  exitSignal: NodeJS.Signals | null = null;
  observer: ChildObserver | null = null;
  readonly #waiters: Set<ExitWaiter> = new Set();
  readonly #list: ChildList;
  #killTimer = -1;
  #openPipes = 0;

  constructor(loop: EventLoop, node: ChildProcess, plan: SpawnPlan, joined: Socket | null) {
    this.loop = loop;
    this.pid = node.pid as number;
    this.program = plan.program;
    const stdout = joined ?? (node.stdout as Socket | null);
    this.pipes = [
      this.#pipe(node.stdin as Socket | null, true),
      this.#pipe(stdout, false),
      this.#pipe(node.stderr as Socket | null, false),
    ];
    this.#list = childrenOf(loop);
    this.#list.children.add(this);
    loop.outsideWork += 1;
    node.once('exit', (code, signal) => this.#exited(code, signal));
  }

  /** The code or minus the signal. Cancelling the wait leaves the process alone. */
  wait(options?: WaitOptions): Promise<number> {
    if (this.returnCode !== null) {
      return refusedNow(options) ?? Promise.resolve(this.returnCode);
    }
    const waiter = new ExitWaiter(this.#waiters);
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.add(waiter);
    return promise;
  }

  /** @throws the system's error (EPERM); TypeError for an unknown name. Nothing after the end. */
  sendSignal(signal: NodeJS.Signals): void {
    checkSignalName(signal);
    if (this.returnCode !== null) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** SIGTERM, then SIGKILL after `killAfterMs`, and waits for the end whatever comes. */
  async end(killAfterMs: number): Promise<void> {
    if (this.returnCode !== null) return;
    if (this.#killTimer === -1) {
      this.#insist(killAfterMs > 0 ? 'SIGTERM' : 'SIGKILL');
      if (killAfterMs > 0 && killAfterMs !== Infinity) {
        this.#killTimer = this.loop.armTimer(this.loop.time() + killAfterMs, this);
      }
    }
    const waiter = new ExitWaiter(this.#waiters);
    this.#waiters.add(waiter);
    // In no region: nothing can cancel it. A cancellation stays for the caller's next wait.
    await waiter.begin(null);
  }

  /** @internal The time to end by itself is over. */
  onTimer(): void {
    this.#killTimer = -1;
    this.#insist('SIGKILL');
  }

  /** SIGKILL and no more pipes: for the end of the loop. False when it cannot be killed. */
  discard(): boolean {
    for (const pipe of this.pipes) pipe?.abort();
    return this.returnCode !== null || this.#insist('SIGKILL');
  }

  #pipe(socket: Socket | null, writable: boolean): PipeHandle | null {
    if (socket === null) return null;
    this.#openPipes++;
    return new PipeHandle(this.loop, socket, writable, () => {
      this.#openPipes--;
      this.#checkGone();
    });
  }

  #insist(signal: NodeJS.Signals): boolean {
    try {
      this.sendSignal(signal);
      return true;
    } catch (error) {
      // It changed its user. Whoever waits goes on waiting.
      const message = `The process ${this.pid} (${this.program}) could not be sent ${signal}`;
      this.loop.callExceptionHandler({ message, error });
      return false;
    }
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    const returnCode = code ?? -constants.signals[signal as NodeJS.Signals];
    this.returnCode = returnCode;
    this.loop.outsideWork -= 1;
    this.exitSignal = signal;
    if (this.#killTimer !== -1) this.loop.cancelTimer(this.#killTimer);
    this.#killTimer = -1;
    this.pipes[0]?.lose();
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.wake(returnCode);
    this.observer?.onChildExit();
    this.#checkGone();
  }

  #checkGone(): void {
    if (this.returnCode !== null && this.#openPipes === 0) this.#list.remove(this);
  }
}

/** The children of one loop that run or have an open pipe. */
class ChildList {
  readonly children: Set<Child> = new Set();
  #onEmpty: (() => void) | null = null;

  remove(child: Child): void {
    if (this.children.delete(child) && this.children.size === 0) this.#onEmpty?.();
  }

  /** The loop closes. As asyncio's transports do then, children are killed, not asked to end. */
  async end(loop: EventLoop): Promise<void> {
    for (const child of [...this.children]) {
      if (loop.debug && child.returnCode === null) {
        const message = `The process ${child.pid} (${child.program}) outlived its loop: killed`;
        loop.callExceptionHandler({ message });
      }
      if (!child.discard()) this.children.delete(child);
    }
    if (this.children.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
  }
}

const lists = new WeakMap<EventLoop, ChildList>();

function childrenOf(loop: EventLoop): ChildList {
  let list = lists.get(loop);
  if (list === undefined) {
    const made = new ChildList();
    loop.closeHooks.add(() => made.end(loop));
    lists.set(loop, made);
    list = made;
  }
  return list;
}

/** @internal For checks of leaks: children that run or have an open pipe. */
export function openChildren(loop: EventLoop): number {
  return lists.get(loop)?.children.size ?? 0;
}

/** @throws TypeError ERR_UNKNOWN_SIGNAL, as Node does */
export function checkSignalName(signal: unknown): void {
  if (typeof signal === 'string' && Object.hasOwn(constants.signals, signal)) return;
  const error = new TypeError(`Unknown signal: ${String(signal)}`);
  throw Object.assign(error, { code: 'ERR_UNKNOWN_SIGNAL' });
}

/** The rejection of a start that cannot even begin, or null. */
function refusal(loop: EventLoop, options: WaitOptions | undefined): Promise<never> | null {
  const cancelled = takeCancellation();
  if (cancelled !== null) return cancelledPromise(cancelled);
  checkSignal(options);
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  return null;
}

function startNode(plan: SpawnPlan, joined: Socket | undefined): ChildProcess {
  const stdio: StdioOptions = [...plan.stdio];
  if (joined !== undefined) {
    stdio[1] = joined;
    stdio[2] = joined;
  }
  const { cwd, env, shell } = plan;
  return spawn(plan.program, [...plan.args], { cwd, env, shell, stdio });
}

/** Why there is no process. Node tells it a tick later, and has made the pipes all the same. */
function startError(node: ChildProcess): Promise<Error> {
  for (const stream of node.stdio ?? []) stream?.destroy();
  return new Promise((resolve) => node.once('error', resolve));
}

/**
 * Starts a process. Rejects with Node's error when there is none (ENOENT, EACCES, E2BIG …; ENOENT
 * also for a missing `cwd`). In a cancelled task, or with an aborted signal, nothing is started.
 */
export async function startChild(
  loop: EventLoop,
  plan: SpawnPlan,
  options: WaitOptions | undefined,
): Promise<Child> {
  await refusal(loop, options);
  let pair: SocketPair | null = null;
  let child: Child | null = null;
  try {
    if (plan.joined) {
      pair = await openSocketPair();
      await refusal(loop, options);
    }
    const node = startNode(plan, pair?.child);
    if (node.pid === undefined) throw await startError(node);
    child = new Child(loop, node, plan, pair?.parent ?? null);
    return child;
  } finally {
    pair?.child.destroy();
    if (child === null) pair?.parent.destroy();
  }
}
