// Tasks: starting, joining, yielding, gathering, and what a sleeping one costs.
// node bench/micro/task-spawn.mjs [--policy native] [--rounds 5] [--json FILE]
import { main } from './task-harness.mjs';

async function nothing() {}

async function bytesPerSleeper({ createTask, allTasks, checkpoint }, sleeper) {
  const count = 50_000;
  for (let i = 0; i < 1000; i++) createTask(sleeper);
  await checkpoint();
  const settle = async () => {
    for (let i = 0; i < 4; i++) {
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return process.memoryUsage().heapUsed + process.memoryUsage().external;
  };
  const before = await settle();
  for (let i = 0; i < count; i++) createTask(sleeper);
  await checkpoint();
  const bytes = ((await settle()) - before) / count;
  if (allTasks().size < count) throw new Error('sleepers are missing');
  return bytes;
}

await main(import.meta.url, {
  'spawn + join, one by one': {
    async run({ createTask }) {
      for (let i = 0; i < 1000; i++) await createTask(nothing);
      return 1000;
    },
  },
  'spawn + join, 1,000 at a time': {
    async run({ createTask }) {
      const tasks = [];
      for (let i = 0; i < 1000; i++) tasks.push(createTask(nothing));
      for (const task of tasks) await task;
      return 1000;
    },
  },
  'task group of 1,000': {
    async run({ taskGroup }) {
      await taskGroup((group) => {
        for (let i = 0; i < 1000; i++) group.createTask(nothing);
      });
      return 1000;
    },
  },
  'sleep(0), 1 task': {
    async run({ sleep }) {
      for (let i = 0; i < 1000; i++) await sleep(0);
      return 1000;
    },
  },
  'sleep(0), 100 tasks': {
    async run({ createTask, sleep }) {
      const yielder = async () => {
        for (let i = 0; i < 100; i++) await sleep(0);
      };
      const tasks = [];
      for (let i = 0; i < 100; i++) tasks.push(createTask(yielder));
      for (const task of tasks) await task;
      return 10_000;
    },
  },
  'future ping-pong, round trips': {
    async run({ createTask, Future }) {
      let ping = new Future();
      let pong = new Future();
      const other = createTask(async () => {
        for (let i = 0; i < 1000; i++) {
          await ping;
          ping = new Future();
          pong.setResult(i);
        }
      });
      for (let i = 0; i < 1000; i++) {
        ping.setResult(i);
        await pong;
        pong = new Future();
      }
      await other;
      return 1000;
    },
  },
  'gather of 10,000 no-op tasks': {
    async run({ gather }) {
      await gather(new Array(10_000).fill(nothing));
      return 10_000;
    },
  },
  'a sleeping task': {
    bytes: true,
    run: (uvio) => bytesPerSleeper(uvio, () => uvio.sleep(1e9)),
  },
  'a sleeping task, in an async function': {
    bytes: true,
    run: (uvio) => bytesPerSleeper(uvio, async () => await uvio.sleep(1e9)),
  },
});
