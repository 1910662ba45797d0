// Queues and memory channels: hand-over between two tasks, and a buffer between them.
// node bench/micro/queues.mjs [--policy native] [--rounds 5] [--json FILE]
import { main } from './task-harness.mjs';

const items = 20_000;

async function pingPong({ createTask }, give, take, ends) {
  const [there, back] = ends;
  const other = createTask(async () => {
    for (let i = 0; i < items; i++) await give(back, await take(there));
  });
  for (let i = 0; i < items; i++) {
    await give(there, i);
    await take(back);
  }
  await other;
  return items;
}

async function through({ createTask }, put, get) {
  const consumer = createTask(async () => {
    for (let i = 0; i < items; i++) await get();
  });
  for (let i = 0; i < items; i++) await put(i);
  await consumer;
  return items;
}

await main(import.meta.url, {
  'queue ping-pong, round trips': {
    run: (uvio) =>
      pingPong(
        uvio,
        (queue, item) => queue.put(item),
        (queue) => queue.get(),
        [new uvio.Queue(), new uvio.Queue()],
      ),
  },
  'rendezvous ping-pong, round trips': {
    run: (uvio) =>
      pingPong(
        uvio,
        ([send], item) => send.send(item),
        ([, receive]) => receive.receive(),
        [uvio.openMemoryChannel(0), uvio.openMemoryChannel(0)],
      ),
  },
  'bounded queue (100), items': {
    run(uvio) {
      const queue = new uvio.Queue(100);
      return through(
        uvio,
        (item) => queue.put(item),
        () => queue.get(),
      );
    },
  },
  'bounded queue (100), for await': {
    async run({ Queue, createTask }) {
      const queue = new Queue(100);
      const consumer = createTask(async () => {
        let count = 0;
        for await (const _ of queue) count++;
        return count;
      });
      for (let i = 0; i < items; i++) await queue.put(i);
      queue.shutdown();
      return await consumer;
    },
  },
  'channel of 100, items': {
    run(uvio) {
      const [send, receive] = uvio.openMemoryChannel(100);
      return through(
        uvio,
        (item) => send.send(item),
        () => receive.receive(),
      );
    },
  },
  'priority queue of 1,000, put and get': {
    async run({ PriorityQueue }) {
      const queue = new PriorityQueue();
      for (let i = 0; i < 1000; i++) queue.putNowait((i * 7919) % 1000);
      for (let i = 0; i < items; i++) {
        queue.putNowait((i * 7919) % 1000);
        queue.getNowait();
      }
      return items;
    },
  },
  'Nowait calls, put and get': {
    async run({ Queue }) {
      const queue = new Queue();
      for (let i = 0; i < items; i++) {
        queue.putNowait(i);
        queue.getNowait();
      }
      return items;
    },
  },
});
