/**
 * Start-up and clean-up of an application and of those mounted on it.
 *
 * In: hooks. Out: their calls, in order. Never: a clean-up without its start, or left out because
 * another one failed.
 */
import { ExceptionGroup, InvalidStateError } from '../base/errors.ts';
import type { Application, CleanupContext, Hook } from './application.ts';

export class LifeCycle {
  readonly startup: Hook[] = [];
  readonly shutdown: Hook[] = [];
  readonly cleanup: Hook[] = [];
  readonly contexts: CleanupContext[] = [];
  readonly #app: Application;
  #open: AsyncGenerator<void, void, void>[] = [];
  #users = 0;
  #starting: Promise<void> | null = null;

  constructor(app: Application) {
    this.#app = app;
  }

  /** The first user starts it; others wait for that. */
  async acquire(): Promise<void> {
    this.#users++;
    this.#starting ??= this.#start();
    try {
      await this.#starting;
    } catch (error) {
      if (--this.#users === 0) this.#starting = null;
      throw error;
    }
  }

  async tellShutdown(): Promise<void> {
    const errors: unknown[] = [];
    for (const hook of this.shutdown) await attempt(errors, () => hook(this.#app));
    for (const { app } of this.#app.mounts) await attempt(errors, () => app.life.tellShutdown());
    throwAll(errors, 'shutdown');
  }

  /** The last user cleans up. */
  async release(): Promise<void> {
    if (--this.#users > 0) return;
    this.#starting = null;
    await this.#clean(true);
  }

  async #start(): Promise<void> {
    this.#app.freeze();
    try {
      for (const context of this.contexts) {
        const generator = context(this.#app);
        const { done } = await generator.next();
        if (done === true) throw new InvalidStateError('A clean-up context ended without a yield');
        this.#open.push(generator);
      }
      for (const hook of this.startup) await hook(this.#app);
      for (const { app } of this.#app.mounts) await app.life.acquire();
    } catch (error) {
      // The error that ended the start is the one that counts.
      await this.#clean(false).catch(() => {});
      throw error;
    }
  }

  async #clean(all: boolean): Promise<void> {
    const errors: unknown[] = [];
    if (all) {
      for (const { app } of [...this.#app.mounts].reverse()) {
        await attempt(errors, () => app.life.release());
      }
      for (const hook of [...this.cleanup].reverse()) await attempt(errors, () => hook(this.#app));
    }
    const open = this.#open.reverse();
    this.#open = [];
    for (const generator of open) {
      await attempt(errors, async () => {
        const { done } = await generator.next();
        if (done === true) return;
        await generator.return();
        throw new InvalidStateError('A clean-up context has more than one yield');
      });
    }
    throwAll(errors, 'clean-up');
  }
}

async function attempt(errors: unknown[], step: () => unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    errors.push(error);
  }
}

function throwAll(errors: readonly unknown[], what: string): void {
  if (errors.length > 0) throw new ExceptionGroup(errors, `Hooks of ${what} failed`);
}
