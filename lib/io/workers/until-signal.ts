/**
 * The end of programs that serve: a signal of the process.
 *
 * In: signals. Out: a wait for the first of them. Never: a process that the second one cannot end.
 */
import type { WaitOptions } from '../../base/errors.ts';
import { handledSignals } from '../../task/run.ts';
import { Waiter } from '../../task/waiter.ts';

const defaultSignals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

/** Waits for the first of some signals; a second one ends the process as it always does. */
class SignalWaiter extends Waiter<void> {
  readonly #signals: readonly NodeJS.Signals[];

  constructor(signals: readonly NodeJS.Signals[]) {
    super('signal');
    this.#signals = signals.filter((signal) => !handledSignals.has(signal));
    for (const signal of this.#signals) {
      handledSignals.add(signal);
      process.on(signal, this.#onSignal);
    }
  }

  stop(): void {
    for (const signal of this.#signals) {
      handledSignals.delete(signal);
      process.off(signal, this.#onSignal);
    }
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.active) {
      this.wake();
      return;
    }
    this.stop();
    process.kill(process.pid, signal);
  };
}

/** Runs `body`, for which signals are caught; `stop` resolves with the first one. */
export async function untilSignal(
  signals: readonly NodeJS.Signals[] | false | undefined,
  wait: WaitOptions,
  body: (stop: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const waiter = new SignalWaiter(signals === false ? [] : (signals ?? defaultSignals));
  try {
    await body(() => waiter.start(wait));
  } finally {
    waiter.stop();
  }
}
