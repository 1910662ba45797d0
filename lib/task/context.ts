/**
 * Variables that follow tasks and callbacks.
 *
 * In: values set in a task. Out: the same values in what it starts later. Never: a change that a
 * task makes seen by its creator.
 */
import { AsyncResource } from 'node:async_hooks';
import { argTypeError } from '../base/errors.ts';
import { contextHooks } from '../loop/event-loop.ts';
import {
  currentFrame,
  currentLoop,
  Frame,
  frameStorage,
  type Vars,
  type VarsBox,
  withoutDestroy,
} from './frame.ts';
import { loopState } from './loop-state.ts';

/** For code outside of tasks. */
const threadBox: VarsBox = { vars: null };

function currentBox(): VarsBox {
  return currentFrame()?.box ?? threadBox;
}

/** @internal What a task that is made outside of tasks starts with. */
export function topVars(): Vars | null {
  return threadBox.vars;
}

function frameWith(box: VarsBox): Frame {
  const frame = currentFrame();
  if (frame !== undefined) return new Frame(frame.loop, frame.task, frame.scope, box);
  const loop = currentLoop();
  return new Frame(loop, null, loopState(loop).root, box);
}

function captureVars(): unknown {
  return currentBox().vars ?? undefined;
}

function withValue(vars: Vars | null, key: object, value: unknown): Vars {
  // Until a first value there is nothing to find, and looking would cost each callback.
  contextHooks.capture = captureVars;
  return new Map(vars).set(key, value);
}

/**
 * A value that follows tasks and callbacks. A task starts with a copy of its creator's values.
 * (contextvars.ContextVar)
 */
export class ContextVar<T> {
  readonly name: string;
  readonly #options: { defaultValue?: T };

  /** @throws TypeError for a bare value: a default is an option. */
  constructor(name: string, options: { defaultValue?: T } = {}) {
    if (typeof options !== 'object' || options === null) {
      throw argTypeError('options', 'an object, as { defaultValue }', options);
    }
    this.name = name;
    this.#options = options;
  }

  /** Error when unset and without a default or fallback. */
  get(): T;
  get<D>(fallback: D): T | D;
  get<D>(...fallback: [] | [D]): T | D {
    const { vars } = currentBox();
    if (vars?.has(this)) return vars.get(this) as T;
    if (fallback.length > 0) return fallback[0] as D;
    if ('defaultValue' in this.#options) return this.#options.defaultValue as T;
    throw new Error(`The context variable '${this.name}' has no value`);
  }

  /** For the current task and those it creates later; disposing restores the old value. */
  set(value: T): Disposable {
    const box = currentBox();
    const before = box.vars;
    box.vars = withValue(before, this, value);
    return {
      [Symbol.dispose]: () => {
        const vars = new Map(box.vars);
        if (before?.has(this)) vars.set(this, before.get(this));
        else vars.delete(this);
        box.vars = vars;
      },
    };
  }

  /** Runs `fn`, and all async code that starts in it, with the value. */
  run<R>(value: T, fn: () => R): R {
    return frameStorage.run(frameWith({ vars: withValue(currentBox().vars, this, value) }), fn);
  }
}

/**
 * A snapshot of all context variables, node:async_hooks' AsyncLocalStorage included. What `fn`
 * sets stays in the context. (contextvars.Context)
 */
export class Context {
  /** @internal */
  readonly box: VarsBox;
  /** @internal Carries the stores of other AsyncLocalStorages. */
  readonly resource: AsyncResource | null;

  private constructor(box: VarsBox, resource: AsyncResource | null) {
    this.box = box;
    this.resource = resource;
  }

  /** @internal */
  static of(box: VarsBox, resource: AsyncResource | null = null): Context {
    return new Context(box, resource);
  }

  run<R>(fn: () => R): R {
    const frame = frameWith(this.box);
    if (this.resource === null) return frameStorage.run(frame, fn);
    return this.resource.runInAsyncScope(() => frameStorage.run(frame, fn));
  }
}

/** (contextvars.copy_context) */
export function copyContext(): Context {
  const resource = new AsyncResource('UVIO', withoutDestroy);
  return Context.of({ vars: currentBox().vars }, resource);
}

// Callbacks of the loop see the variables of where they were registered.
contextHooks.run = (vars, fn) => {
  const loop = currentLoop();
  const frame = new Frame(loop, null, loopState(loop).root, { vars: vars as Vars });
  frameStorage.run(frame, fn);
};
