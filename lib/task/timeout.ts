/**
 * Time limits that throw.
 *
 * In: a limit and the work under it. Out: the work's result, or TimeoutError. Never: a TimeoutError
 * in place of a cancellation that came from outside.
 */
import { type Awaitable, InvalidStateError, TimeoutError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import { becomeTimeout, edgeShielded, openNode, setOrigin } from './cancellation.ts';
import { checkBody, runInNode } from './enter.ts';
import { currentFrame, type Frame, frameStorage } from './frame.ts';
import { CancelScope } from './scope.ts';
import type { ScopeNode } from './scope-node.ts';
import { regionBusy } from './scope-node.ts';

/** The time limit of a running `timeout()` region. */
export interface Timeout {
  /** Null for none. */
  readonly deadlineMs: number | null;
  /** InvalidStateError once expired or ended. */
  reschedule(deadlineMs: number | null): void;
  readonly expired: boolean;
}

class TimeoutHandle implements Timeout {
  /** @internal */
  readonly scope: CancelScope;
  /** @internal */
  ended = false;

  constructor(scope: CancelScope) {
    this.scope = scope;
  }

  get deadlineMs(): number | null {
    return this.scope.deadlineMs === Infinity ? null : this.scope.deadlineMs;
  }

  get expired(): boolean {
    return this.scope.cancelCalled;
  }

  reschedule(deadlineMs: number | null): void {
    if (this.expired) throw new InvalidStateError('The time limit has expired');
    if (this.ended) throw new InvalidStateError('The region of the time limit has ended');
    this.scope.deadlineMs = deadlineMs ?? Infinity;
  }
}

async function limited<T>(
  scope: CancelScope,
  limit: string,
  fn: (timeout: Timeout) => Awaitable<T>,
): Promise<T> {
  const handle = new TimeoutHandle(scope);
  const node = scope.enter();
  try {
    return await runInNode(node, fn, handle);
  } catch (error) {
    scope.absorb(error);
    throw new TimeoutError(`The time limit ${limit}passed`, { cause: scope.own });
  } finally {
    handle.ended = true;
    scope.leave();
  }
}

async function timeoutCall<T>(
  ms: number | null,
  fn: (timeout: Timeout) => Awaitable<T>,
  options: { shield?: boolean } = {},
): Promise<T> {
  checkBody('timeout', fn);
  const timeoutMs = ms === null ? Infinity : checkMs('ms', ms);
  const scope = new CancelScope({ timeoutMs, shield: options.shield ?? false });
  return await limited(scope, `of ${ms} ms `, fn);
}

/**
 * The region of `await using _ = timeout(ms)`: from the call to the end of the block. Disposal does
 * not hear how the block ended, and what it would throw became a SuppressedError: so it turns the
 * CancelledError that is under way into the TimeoutError, the object itself, and throws nothing.
 */
class TimeoutBlock extends TimeoutHandle implements AsyncDisposable {
  readonly #node: ScopeNode;
  readonly #before: Frame;
  readonly #message: string;

  constructor(scope: CancelScope, node: ScopeNode, before: Frame, message: string) {
    super(scope);
    this.#node = node;
    this.#before = before;
    this.#message = message;
  }

  // Not async: the frame must be changed in the context of the function that has the block.
  [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return Promise.resolve();
    this.ended = true;
    const node = this.#node;
    if (node.loop.debug && regionBusy(node)) {
      const message =
        'A block of timeout() ended while waits that began in it go on: an await is missing, or ' +
        'the block is in a function that was called directly instead of being started by uvio';
      node.loop.callExceptionHandler({ message });
    }
    this.#convert();
    this.scope.leave();
    // With other resources in the block this is a context of its own, and the function stays in the
    // region. Nothing begins in a region that was left: waits go to the one around.
    if (currentFrame() === node) frameStorage.enterWith(this.#before);
    return Promise.resolve();
  }

  #convert(): void {
    const { own } = this.scope;
    const node = this.#node;
    if (own === null || node.outer === null) return;
    const around = openNode(node.outer);
    if (this.scope.taskCancelledInside() && !edgeShielded(around)) setOrigin(own, null);
    else if (around.effective !== null) setOrigin(own, around.effective);
    else becomeTimeout(own, this.#message);
  }
}

function timeoutBlock(ms: number | null): Timeout & AsyncDisposable {
  const timeoutMs = ms === null ? Infinity : checkMs('ms', ms);
  const frame = currentFrame();
  if (frame === undefined || openNode(frame.scope).outer === null) {
    throw new InvalidStateError(
      'timeout() without a function is for functions that uvio started: tasks, scopes, groups',
    );
  }
  const scope = new CancelScope({ timeoutMs });
  const node = scope.enter();
  frameStorage.enterWith(node);
  return new TimeoutBlock(scope, node, frame, `The time limit of ${ms} ms passed`);
}

/**
 * Runs `fn` for at most `ms` milliseconds (null: no limit), then cancels it, waits for its end and
 * throws TimeoutError. NaN: TypeError. (asyncio.timeout, trio.fail_after, curio.timeout_after)
 */
export function timeout<T>(
  ms: number | null,
  fn: (timeout: Timeout) => Awaitable<T>,
  options?: { shield?: boolean },
): Promise<T>;
/**
 * Block form: `await using _ = timeout(2000)` limits the rest of the block. Only directly in a
 * function that uvio started (a task, the body of a scope or group; InvalidStateError elsewhere):
 * in one that was called eagerly, the limit would reach what the caller starts before the block
 * ends, about which debug mode tells. Without `await using` it limits the rest of the function.
 * An error under way that wraps the cancellation stays as it is; its cause is the TimeoutError.
 */
export function timeout(ms: number | null): Timeout & AsyncDisposable;
export function timeout<T>(
  ms: number | null,
  ...rest: [fn?: (timeout: Timeout) => Awaitable<T>, options?: { shield?: boolean }]
): Promise<T> | (Timeout & AsyncDisposable) {
  // By their number: an undefined function is a mistake, not a block.
  if (rest.length === 0) return timeoutBlock(ms);
  return timeoutCall(ms, rest[0] as (timeout: Timeout) => Awaitable<T>, rest[1]);
}

/**
 * The same with a point in time. (asyncio.timeout_at, trio.fail_at)
 * @param deadlineMs on the clock of `currentTime()`.
 */
export async function timeoutAt<T>(
  deadlineMs: number | null,
  fn: (timeout: Timeout) => Awaitable<T>,
  options: { shield?: boolean } = {},
): Promise<T> {
  checkBody('timeoutAt', fn);
  const atMs = deadlineMs === null ? Infinity : checkMs('deadlineMs', deadlineMs);
  const scope = new CancelScope({ deadlineMs: atMs, shield: options.shield ?? false });
  return await limited(scope, '', fn);
}
