/**
 * Where protocol callbacks run: without a task, but with the variables of whoever made the server.
 *
 * In: the context of the call. Out: one object for all streams of a server. Never: one per stream.
 */
import { AsyncResource } from 'node:async_hooks';
import type { CallbackContext } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { topVars } from '../task/context.ts';
import { currentFrame, Frame, frameStorage } from '../task/frame.ts';
import { loopState } from '../task/loop-state.ts';

class SharedContext implements CallbackContext {
  // Carries the stores of all AsyncLocalStorages, the frame's included.
  readonly #resource: AsyncResource = new AsyncResource('UVIO', { requireManualDestroy: true });

  run<A>(fn: (arg: A) => void, arg: A): void {
    this.#resource.runInAsyncScope(fn, null, arg);
  }
}

/** The context of the caller, without its task and scope: a callback has none. */
export function captureContext(loop: EventLoop): CallbackContext {
  const vars = currentFrame()?.box.vars ?? topVars();
  const frame = new Frame(loop, null, loopState(loop).root, { vars });
  return frameStorage.run(frame, () => new SharedContext());
}
