// Cancellation: sleepers by the edge and by the level kind, scopes and time limits that do nothing.
// node bench/micro/cancellation.mjs [--policy native] [--rounds 5] [--json FILE]
import { main } from './task-harness.mjs';

await main(import.meta.url, {
  'cancel 10,000 sleepers, and join': {
    async run({ createTask, sleep, checkpoint }) {
      const tasks = [];
      for (let i = 0; i < 10_000; i++) tasks.push(createTask(() => sleep(1e6)));
      await checkpoint();
      for (const task of tasks) task.cancel();
      for (const task of tasks) await task.wait();
      return 10_000;
    },
  },
  'cancel a group of 10,000 sleepers': {
    async run({ taskGroup, sleep, checkpoint }) {
      await taskGroup(async (group) => {
        for (let i = 0; i < 10_000; i++) group.createTask(() => sleep(1e6));
        await checkpoint();
        group.cancel();
      });
      return 10_000;
    },
  },
  'timeout(1000, f) that is not reached': {
    async run({ timeout, checkpoint }) {
      for (let i = 0; i < 1000; i++) await timeout(1000, checkpoint);
      return 1000;
    },
  },
  'waitFor(f, 1000) that is not reached': {
    async run({ waitFor, checkpoint }) {
      for (let i = 0; i < 1000; i++) await waitFor(checkpoint, 1000);
      return 1000;
    },
  },
  'scopes nested 10,000 deep, cancelled': {
    async run({ CancelScope, sleepForever, checkpoint, createTask }) {
      const outer = new CancelScope();
      const nest = (depth) =>
        depth === 0 ? sleepForever() : new CancelScope().run(() => nest(depth - 1));
      const task = createTask(() => outer.run(() => nest(10_000)));
      for (let i = 0; i < 300; i++) await checkpoint();
      outer.cancel();
      await task;
      return 10_000;
    },
  },
});
