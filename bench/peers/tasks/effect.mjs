// Fibers of Effect, as its documents write such programs.
import { Effect, Fiber, Queue } from 'effect';
import { main } from './shared.mjs';

const spawn = Effect.forkChild ?? Effect.fork;
// Not Effect.void: that one is known to do nothing, and no fiber is made for it.
const nothing = Effect.sync(() => {});
const run = (program, operations) => Effect.runPromise(Effect.as(program, operations));

const times = (count, step) =>
  Effect.gen(function* () {
    for (let i = 0; i < count; i++) yield* step;
  });

const spawnMany = (count, program) =>
  Effect.gen(function* () {
    const fibers = [];
    for (let i = 0; i < count; i++) fibers.push(yield* spawn(program));
    return fibers;
  });

const joinAll = (fibers) =>
  Effect.gen(function* () {
    for (const fiber of fibers) yield* Fiber.join(fiber);
  });

const cases = {
  'spawn-one': () => run(times(1000, Effect.flatMap(spawn(nothing), Fiber.join)), 1000),
  'spawn-many': () => run(Effect.flatMap(spawnMany(1000, nothing), joinAll), 1000),
  'sleep0-1': () => run(times(1000, Effect.yieldNow), 1000),
  'sleep0-100': () =>
    run(Effect.flatMap(spawnMany(100, times(100, Effect.yieldNow)), joinAll), 10_000),
  'ping-pong': () =>
    run(
      Effect.gen(function* () {
        const there = yield* Queue.unbounded();
        const back = yield* Queue.unbounded();
        const fiber = yield* spawn(
          times(
            1000,
            Effect.flatMap(Queue.take(there), (item) => Queue.offer(back, item)),
          ),
        );
        for (let i = 0; i < 1000; i++) {
          yield* Queue.offer(there, i);
          yield* Queue.take(back);
        }
        yield* Fiber.join(fiber);
      }),
      1000,
    ),
  'bounded-queue': () =>
    run(
      Effect.gen(function* () {
        const queue = yield* Queue.bounded(100);
        const fiber = yield* spawn(times(10_000, Queue.take(queue)));
        for (let i = 0; i < 10_000; i++) yield* Queue.offer(queue, i);
        yield* Fiber.join(fiber);
      }),
      10_000,
    ),
  gather: () =>
    run(Effect.all(new Array(10_000).fill(nothing), { concurrency: 'unbounded' }), 10_000),
  cancel: () =>
    run(
      Effect.gen(function* () {
        const fibers = yield* spawnMany(10_000, Effect.sleep(3_600_000));
        yield* Effect.yieldNow;
        yield* Fiber.interruptAll(fibers);
      }),
      10_000,
    ),
  bytes: (count) => {
    for (let i = 0; i < count; i++) Effect.runFork(Effect.sleep(3_600_000));
    return new Promise((resolve) => setTimeout(resolve, 100));
  },
};

if (typeof Effect.yieldNow === 'function') Effect.yieldNow = Effect.yieldNow();
await main(cases, (fn) => fn());
