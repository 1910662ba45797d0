/**
 * What those who wait for the next turn share: a promise and a place in the ready queue.
 *
 * In: its turn. Out: a resolved promise. Never: a rejection.
 */
import { heldResolve, hold } from '../base/held-resolve.ts';
import type { Job } from './event-loop.ts';

export class TurnWait implements Job {
  readonly promise: Promise<void> = new Promise(hold);
  readonly runJob: () => void = heldResolve as () => void;
}
