/**
 * Letting everything run that promises and ticks have ready, as Node does between two callbacks.
 *
 * In: nothing. Out: when it returns, no microtask and no tick is left. Never: inside of a
 * microtask, where nothing would run; inside of itself, where chains of loops would nest.
 */

interface WithTicks {
  /** What Node's timers call between one another. Old, and not documented. */
  readonly _tickCallback?: () => void;
}

/** Null where it is not to be had, or where Node would warn of its use. */
function findTicks(): (() => void) | null {
  const ticks = (process as unknown as WithTicks)._tickCallback;
  return typeof ticks === 'function' && ticks.name === 'runNextTicks' ? ticks : null;
}

const runTicks = findTicks();
let draining = false;

/**
 * False: not possible here and now. What a tick throws must reach Node as an uncaught exception:
 * only then it puts its books of running callbacks in order. So whoever calls this throws it on.
 */
export function drain(): boolean {
  if (runTicks === null || draining) return false;
  draining = true;
  try {
    runTicks();
  } finally {
    draining = false;
  }
  return true;
}
