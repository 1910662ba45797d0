/**
 * What those who wait for the next turn share: a promise and a place in the ready queue.
 *
 * In: its turn. Out: a resolved promise. Never: a rejection.
 */
import type { Job } from './event-loop.ts';

// The executor runs inside `new Promise`: handing over through these saves a closure.
let heldResolve: () => void;
function hold(resolve: () => void): void {
  heldResolve = resolve;
}

export class TurnWait implements Job {
  readonly promise: Promise<void> = new Promise(hold);
  readonly runJob: () => void = heldResolve;
}
