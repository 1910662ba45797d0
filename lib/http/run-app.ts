/**
 * An application as a program.
 *
 * In: an application. Out: its service until a signal comes. Never: a request cut off by the first
 * signal; a process that the second one cannot end.
 */
import { argTypeError, notSupportedError } from '../base/errors.ts';
import type { LoopPolicy } from '../io/handles.ts';
import { currentFrame } from '../task/frame.ts';
import { handledSignals, run } from '../task/run.ts';
import { Waiter } from '../task/waiter.ts';
import { Application } from './application.ts';
import type { ServeOptions } from './serve-options.ts';
import { serve } from './server.ts';

export interface RunAppOptions extends ServeOptions {
  policy?: LoopPolicy;
  /** Default ['SIGINT', 'SIGTERM']. */
  handleSignals?: readonly NodeJS.Signals[] | false;
  /** Gets the start message. Default console.log; null for silence. */
  print?: ((text: string) => void) | null;
  /** Not in this version: an error with code ENOTSUP for more than one. */
  workers?: number | 'auto';
}

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

async function serveUntilSignal(
  app: Application | Promise<Application>,
  options: RunAppOptions,
): Promise<void> {
  const { handleSignals = defaultSignals, print = console.log, signal } = options;
  const made = await app;
  if (!(made instanceof Application)) throw argTypeError('app', 'an Application', made);
  const waiter = new SignalWaiter(handleSignals === false ? [] : handleSignals);
  try {
    await using server = await serve(made, options);
    print?.(`Running on ${server.url}`);
    await waiter.start({ signal });
  } finally {
    waiter.stop();
  }
}

/**
 * Serves until cancelled or a signal comes, then closes gracefully. Starts a run if none is.
 * (aiohttp.web.run_app)
 */
export async function runApp(
  app: Application | Promise<Application>,
  options: RunAppOptions = {},
): Promise<void> {
  const { workers = 1, policy } = options;
  if (workers !== 1) throw notSupportedError('workers', 'not in this version');
  if (currentFrame() !== undefined) {
    await serveUntilSignal(app, options);
    return;
  }
  const runOptions = policy === undefined ? {} : { policy };
  await run(() => serveUntilSignal(app, options), { ...runOptions, handleSignals: false });
}
