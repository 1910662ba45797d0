/**
 * A thread or process that works for a pool, one job at a time.
 *
 * In: calls. Out: one reply for each, or its end. Never: a decision about what to run next.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import type { Job } from './job.ts';
import type { Answer, Call, Reply } from './wire.ts';

/** What a lane reports to. */
export interface LaneHost {
  onReply(lane: Lane, reply: Reply): void;
  /**
   * It is gone. `how` names it and says by what, as in 'The thread ended with exit code 3'.
   * @param cause the error that ended it, if any.
   */
  onEnd(lane: Lane, how: string, cause: unknown): void;
}

export type LaneStarter = (host: LaneHost) => Lane;

export abstract class Lane {
  /** What it works on. */
  job: Job | null = null;
  /** Of the last job: who is told of errors that belong to none. */
  loop: EventLoop | null = null;
  idleTimer: NodeJS.Timeout | null = null;
  /** Calls that were sent. */
  #calls = 0;

  /** Whether work on it can be stopped by ending it: so it is for processes. */
  abstract readonly stoppable: boolean;

  /** Throws when the arguments cannot be copied; nothing was sent then. */
  send(call: Call, transfer: readonly ArrayBuffer[]): void {
    this.post(call, transfer);
    this.#calls++;
  }

  protected abstract post(call: Call, transfer: readonly ArrayBuffer[]): void;

  /** A message came: the reply, or what the work itself has sent, which belongs to nobody. */
  protected heard(host: LaneHost, message: unknown): void {
    const { number, reply } = (message ?? {}) as Partial<Answer>;
    if (number === this.#calls && reply !== undefined) host.onReply(this, reply);
  }

  /** Does (not) keep the process alive. */
  abstract setRef(ref: boolean): void;

  /** Ends it now, whatever it does. Resolves when it is gone. */
  abstract end(): Promise<void>;
}
