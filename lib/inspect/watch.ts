/**
 * Looking at a loop from time to time: its figures, and whether it can ever go on.
 *
 * In: a loop. Out: calls. Never: a timer that keeps the process or the loop alive.
 */
import { argTypeError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { EventLoop, LoopMetrics } from '../loop/event-loop.ts';
import { currentLoop, frameStorage } from '../task/frame.ts';
import { formatTaskTree, type TaskInfo, taskTree } from './tree.ts';

const defaultIntervalMs = 1000;
const defaultIdleMs = 1000;

/** What Node's timers take. */
const maxIntervalMs = 2 ** 31 - 1;

/** Calls `look` until disposed or until the loop closes; its errors go to the loop's handler. */
class Watch implements Disposable {
  readonly #loop: EventLoop;
  readonly #timer: NodeJS.Timeout;
  readonly #dispose = (): void => this[Symbol.dispose]();

  constructor(loop: EventLoop, intervalMs: number, name: string, look: () => void) {
    this.#loop = loop;
    const safeLook = (): void => {
      try {
        look();
      } catch (error) {
        loop.callExceptionHandler({ message: `The callback of ${name}() threw`, error });
      }
    };
    const everyMs = Math.min(Math.max(1, intervalMs), maxIntervalMs);
    // Outside of the task that asked for it: what the callback does is none of its steps.
    this.#timer = frameStorage.run(undefined, () => setInterval(safeLook, everyMs)).unref();
    loop.closeHooks.add(this.#dispose);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#loop.closeHooks.delete(this.#dispose);
  }
}

/**
 * Calls back with `loop.metrics()` every `intervalMs` (default 1000), until disposed or until the
 * loop closes. Keeps nothing alive. What the callback throws goes to the loop's exception handler.
 * TypeError for a callback that is no function, or an interval that is no number.
 */
export function watchMetrics(
  callback: (metrics: LoopMetrics) => void,
  options: { intervalMs?: number; loop?: EventLoop } = {},
): Disposable {
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
  const intervalMs = checkMs('intervalMs', options.intervalMs ?? defaultIntervalMs);
  const loop = options.loop ?? currentLoop();
  return new Watch(loop, intervalMs, 'watchMetrics', () => callback(loop.metrics()));
}

/** Beyond this a timer only keeps a run alive. */
const farMs = 2 ** 39;

/** What keeps Node's loop alive without ever ending a wait: consoles, and handlers of signals. */
const idleResources: ReadonlySet<string> = new Set(['TTYWrap', 'PipeWrap', 'SignalWrap']);

/** Something outside of tasks may end a wait: I/O, a timer, what others do on the thread. */
function mayGoOn(loop: EventLoop): boolean {
  const { streams, listeners, connecting, datagrams } = loop.backendHandle.counters();
  if (streams + listeners + connecting + datagrams > 0 || loop.metrics().ready > 0) return true;
  const timerMs = loop.timers.nearest() - loop.time();
  if (timerMs < farMs) return true;
  // The pure loop keeps a far timer of its own as one of Node's.
  let timeouts = timerMs === Infinity || loop.backend !== 'pure' ? 0 : 1;
  return process.getActiveResourcesInfo().some((resource) => {
    if (resource === 'Timeout') return timeouts-- <= 0;
    return !idleResources.has(resource);
  });
}

/** Tasks that wait for ever by intention are none of it. */
const intended: ReadonlySet<string | null> = new Set(['sleepForever', 'serveForever']);

function flatten(tree: readonly TaskInfo[]): TaskInfo[] {
  const found = [...tree];
  for (let i = 0; i < found.length; i++) found.push(...(found[i] as TaskInfo).children);
  return found;
}

function warnDeadlock(tasks: readonly TaskInfo[]): void {
  const text = `${tasks.length} tasks wait for one another, and nothing else can end that`;
  const warning = { type: 'UvioWarning', code: 'UVIO_DEADLOCK', detail: formatTaskTree(tasks) };
  process.emitWarning(text, warning);
}

/**
 * Reports when for `idleMs` (default 1000) every task of the current loop waits, and no I/O, timer
 * or other work of the process is pending that could end a wait. Careful: whatever else is going
 * on in the process (another loop's timer, a worker thread) silences it, and so does any open
 * connection. Tasks in `sleepForever` alone are no deadlock. Told once, and again after something
 * has moved. Keeps nothing alive; ends with `dispose` or with the loop.
 * (trio#1085; default of `onDeadlock`: a warning with the code UVIO_DEADLOCK and the tree)
 */
export function detectDeadlocks(
  options: { idleMs?: number; onDeadlock?: (tasks: readonly TaskInfo[]) => void } = {},
): Disposable {
  const idleMs = checkMs('idleMs', options.idleMs ?? defaultIdleMs);
  const onDeadlock = options.onDeadlock ?? warnDeadlock;
  const loop = currentLoop();
  let turns = -1;
  let stillMs = 0;
  let told = false;
  return new Watch(loop, idleMs / 2, 'detectDeadlocks', () => {
    const { iterations } = loop.metrics();
    const nowMs = performance.now();
    if (iterations !== turns || mayGoOn(loop)) {
      turns = iterations;
      stillMs = nowMs;
      told = false;
      return;
    }
    if (told || nowMs - stillMs < idleMs) return;
    const tree = taskTree(loop);
    const tasks = flatten(tree);
    if (tasks.some(({ state }) => state !== 'waiting')) return;
    if (tasks.every(({ waitsFor }) => intended.has(waitsFor))) return;
    told = true;
    onDeadlock(tree);
  });
}
