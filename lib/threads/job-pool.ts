/**
 * Jobs on a bounded number of lanes: first come, first served; lanes start when needed and end
 * when idle.
 *
 * In: calls. Out: promises of their results. Never: a lane that keeps the process alive without
 * work; a job that is lost with somebody else's lane.
 */

import { types } from 'node:util';
import { Deque } from '../base/deque.ts';
import {
  argTypeError,
  BrokenResourceError,
  ClosedResourceError,
  notSendableError,
  type WaitOptions,
} from '../base/errors.ts';
import { frameStorage } from '../task/frame.ts';
import { Job, type JobOwner } from './job.ts';
import type { Lane, LaneHost, LaneStarter } from './lane.ts';
import { Outstanding } from './outstanding.ts';
import { drainThreadsafe } from './threadsafe.ts';
import type { Call, Reply } from './wire.ts';

/** What Node's timers can count; idle lanes of a longer time never end. */
export const maxTimerMs: number = 2 ** 31 - 1;

export interface JobOptions extends WaitOptions {
  transfer?: readonly ArrayBuffer[] | undefined;
}

export class JobPool implements JobOwner, LaneHost {
  readonly #startLane: LaneStarter;
  readonly #maxLanes: number;
  readonly #idleMs: number;
  readonly #queue: Deque<Job> = new Deque();
  readonly #lanes: Set<Lane> = new Set();
  /** The last one to become idle is the next one to work, so that others can end. */
  readonly #idle: Lane[] = [];
  readonly #outstanding: Outstanding = new Outstanding();
  #closing: Promise<void> | null = null;

  constructor(startLane: LaneStarter, maxLanes: number, idleMs: number) {
    this.#startLane = startLane;
    this.#maxLanes = maxLanes;
    this.#idleMs = idleMs;
  }

  submit(call: Call, options: JobOptions | undefined): Promise<unknown> {
    const { transfer = [] } = options ?? {};
    if (!Array.isArray(transfer) || !transfer.every(types.isArrayBuffer)) {
      return Promise.reject(argTypeError('options.transfer', 'an array of ArrayBuffer', transfer));
    }
    if (this.#closing !== null)
      return Promise.reject(new ClosedResourceError('The pool is closed'));
    const job = new Job(this, call, transfer);
    const promise = job.wait(options);
    if (job.active) {
      this.#outstanding.add();
      this.#queue.push(job);
      this.#pump();
    }
    return promise;
  }

  /** Takes nothing new, lets all jobs that were accepted end, then ends the lanes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Ends all lanes now. Their jobs, and those that wait, fail with BrokenResourceError. */
  async terminate(): Promise<void> {
    void this.close();
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      this.#outstanding.remove();
      job.endWith(new BrokenResourceError('The pool was ended before the job started'));
    }
    await this.#endLanes();
  }

  forget(job: Job): void {
    if (this.#queue.delete(job)) this.#outstanding.remove();
  }

  unwanted(_job: Job, lane: Lane): void {
    if (lane.stoppable) void lane.end();
  }

  onReply(lane: Lane, reply: Reply): void {
    const { job } = lane;
    if (job === null) return;
    this.#release(lane);
    job.keep(reply);
    this.#outstanding.remove();
    // What the thread asked of the loop before it ended runs before anyone sees its end.
    if (drainThreadsafe(job.loop)) job.loop.enqueue(job);
    else job.runJob();
    this.#pump();
  }

  onEnd(lane: Lane, how: string, cause: unknown): void {
    this.#lanes.delete(lane);
    const place = this.#idle.indexOf(lane);
    if (place !== -1) this.#idle.splice(place, 1);
    if (lane.idleTimer !== null) clearTimeout(lane.idleTimer);
    const { job, loop } = lane;
    if (job !== null) {
      lane.job = null;
      this.#outstanding.remove();
      const options = cause === undefined ? {} : { cause };
      job.lost(new BrokenResourceError(`${how} before its job was done`, options));
    } else if (cause !== undefined) {
      loop?.callExceptionHandler({ message: `${how} while it had no job`, error: cause });
    }
    this.#pump();
  }

  #pump(): void {
    while (this.#queue.length > 0) {
      const lane = this.#idle.pop() ?? this.#newLane();
      if (lane === null) return;
      const job = this.#queue.shift() as Job;
      if (lane instanceof Error) {
        this.#outstanding.remove();
        job.endWith(lane);
      } else {
        this.#give(job, lane);
      }
    }
  }

  #give(job: Job, lane: Lane): void {
    if (lane.idleTimer !== null) clearTimeout(lane.idleTimer);
    lane.idleTimer = null;
    lane.setRef(true);
    lane.job = job;
    lane.loop = job.loop;
    job.lane = lane;
    try {
      lane.send(job.call, job.transfer);
    } catch (error) {
      this.#release(lane);
      this.#outstanding.remove();
      job.lane = null;
      job.endWith(notSendableError('The arguments', error));
    }
  }

  /** Null when there may be no more; an error when it cannot start. */
  #newLane(): Lane | Error | null {
    if (this.#lanes.size >= this.#maxLanes) return null;
    let lane: Lane | Error | null = null;
    // Its events come in the context that it was made in: not in that of some task.
    frameStorage.run(undefined, () => {
      try {
        lane = this.#startLane(this);
        this.#lanes.add(lane);
      } catch (cause) {
        lane = new BrokenResourceError('A thread could not be started', { cause });
      }
    });
    return lane;
  }

  /** The lane has no work. */
  #release(lane: Lane): void {
    lane.job = null;
    lane.setRef(false);
    this.#idle.push(lane);
    if (this.#idleMs > maxTimerMs) return;
    lane.idleTimer = setTimeout(endIdle, this.#idleMs, this.#idle, lane);
    lane.idleTimer.unref();
  }

  async #close(): Promise<void> {
    await this.#outstanding.none();
    await this.#endLanes();
  }

  async #endLanes(): Promise<void> {
    this.#idle.length = 0;
    await Promise.all([...this.#lanes].map((lane) => lane.end()));
  }
}

function endIdle(idle: Lane[], lane: Lane): void {
  const place = idle.indexOf(lane);
  if (place === -1) return;
  idle.splice(place, 1);
  void lane.end();
}
