/**
 * Calling what is ready or due: one after the other, whatever they throw.
 *
 * In: jobs and timers. Out: their calls; what they throw goes to the exception handler. Never: an
 * exception that costs the others their turn.
 */
import type { Deque } from '../base/deque.ts';
import type { EventLoop, Job } from './event-loop.ts';
import { runTimed } from './reports.ts';
import type { TimerWheel } from './timer-wheel.ts';

/** The first `count` jobs. */
export function runJobs(loop: EventLoop, ready: Deque<Job>, count: number): void {
  let left = count;
  for (;;) {
    try {
      while (left > 0) {
        left--;
        (ready.shift() as Job).runJob();
      }
      return;
    } catch (error) {
      loop.callExceptionHandler({ message: 'Exception in a callback', error });
    }
  }
}

export function runJobsTimed(loop: EventLoop, ready: Deque<Job>, count: number): void {
  for (let left = count; left > 0; left--) {
    const job = ready.shift() as Job;
    runTimed(loop, job, 'callback', () => job.runJob());
  }
}

/** All that is due. */
export function runTimers(loop: EventLoop, wheel: TimerWheel): void {
  for (;;) {
    try {
      for (let target = wheel.takeDue(); target !== null; target = wheel.takeDue()) {
        target.onTimer();
      }
      return;
    } catch (error) {
      loop.callExceptionHandler({ message: 'Exception in a timer', error });
    }
  }
}

export function runTimersTimed(loop: EventLoop, wheel: TimerWheel): void {
  for (let target = wheel.takeDue(); target !== null; target = wheel.takeDue()) {
    const due = target;
    runTimed(loop, due, 'timer', () => due.onTimer());
  }
}
