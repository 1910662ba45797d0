/** What the tests of this room share. */
import { Event } from '../../lib/sync/event.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';

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
