/** What the tests of this room share. */
import { expect } from 'vitest';
import type { Condition } from '../../lib/sync/condition.ts';
import { Event } from '../../lib/sync/event.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';

/** Turns of the loop, until all tasks that can go on have done so. */
export async function idle(): Promise<void> {
  for (let i = 0; i < 3; i++) await checkpoint();
}

export interface Holder {
  readonly task: Task<void>;
  /** Has it let go. */
  leave(): void;
}

interface Source {
  acquire(): Promise<Disposable>;
}

/** A task that acquires and holds until it is told to leave. */
export function hold(source: Source, onAcquired: () => void = () => {}): Holder {
  const left = new Event();
  const task = createTask(async () => {
    using _ = await source.acquire();
    onAcquired();
    await left.wait();
  });
  return { task, leave: () => left.set() };
}

/** A holder that has what it wants when this returns. */
export async function held(source: Source): Promise<Holder> {
  const holder = hold(source);
  await idle();
  return holder;
}

/** A task that holds the lock, waits, and logs its name before it releases. */
export function waiting(condition: Condition, log: unknown[] = [], name: unknown = ''): Task<void> {
  return createTask(() =>
    condition.with(async () => {
      await condition.wait();
      expect(condition.lock.statistics().owner).toBe(currentTask());
      log.push(name);
    }),
  );
}

export async function notify(condition: Condition, count?: number): Promise<void> {
  await condition.with(() => condition.notify(count));
}
