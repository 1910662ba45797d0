// Tasks of uvio: `node uvio.mjs pure|native CASE SECONDS`.
import * as uvio from '../../../dist/index.js';
import { main } from './shared.mjs';

const { createTask, sleep, gather, native, pure, run, Queue, checkpoint } = uvio;

async function nothing() {}

async function yielder(count) {
  for (let i = 0; i < count; i++) await sleep(0);
}

const cases = {
  async 'spawn-one'() {
    for (let i = 0; i < 1000; i++) await createTask(nothing).join();
    return 1000;
  },
  async 'spawn-many'() {
    const tasks = [];
    for (let i = 0; i < 1000; i++) tasks.push(createTask(nothing));
    for (const task of tasks) await task.join();
    return 1000;
  },
  async 'sleep0-1'() {
    await yielder(1000);
    return 1000;
  },
  async 'sleep0-100'() {
    const tasks = [];
    for (let i = 0; i < 100; i++) tasks.push(createTask(yielder, 100));
    for (const task of tasks) await task.join();
    return 10_000;
  },
  async 'ping-pong'() {
    const there = new Queue();
    const back = new Queue();
    const other = createTask(async () => {
      for (let i = 0; i < 1000; i++) await back.put(await there.get());
    });
    for (let i = 0; i < 1000; i++) {
      await there.put(i);
      await back.get();
    }
    await other.join();
    return 1000;
  },
  async 'bounded-queue'() {
    const queue = new Queue(100);
    const other = createTask(async () => {
      for (let i = 0; i < 10_000; i++) await queue.get();
    });
    for (let i = 0; i < 10_000; i++) await queue.put(i);
    await other.join();
    return 10_000;
  },
  async gather() {
    await gather(new Array(10_000).fill(nothing));
    return 10_000;
  },
  async cancel() {
    const tasks = [];
    for (let i = 0; i < 10_000; i++) tasks.push(createTask(() => sleep(3_600_000)));
    await checkpoint();
    for (const task of tasks) task.cancel();
    for (const task of tasks) await task.wait();
    return 10_000;
  },
  async bytes(count) {
    for (let i = 0; i < count; i++) createTask(() => sleep(3_600_000));
    await checkpoint();
  },
};

const policy = process.argv[2] === 'native' ? native({ required: true }) : pure();
await main(cases, (fn) => run(fn, { policy, handleSignals: false }));
