/** A publisher and its subscribers in one loop: none of them is outrun. Run on every policy. */
import { expect } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { Application, type WebSocketConnection } from '../../lib/http/index.ts';
import { createTask, sleep, type Task } from '../../lib/index.ts';
import { inMemory } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { withServer } from './support.ts';
import { rawClient } from './websocket-support.ts';

const message = 'x'.repeat(8_192);
/** Room for 32 messages, beside what the kernel holds. */
const limits = { maxBufferedBytes: 262_144, whenSlow: 'close' } as const;
/**
 * The simulated network holds little, so a publisher that outruns its readers is caught soon. A
 * kernel holds megabytes for each: there it takes 250 readers and a gigabyte, or `UVIO_LONG=1`.
 */
const long = process.env['UVIO_LONG'] === '1';
const many = long ? 250 : inMemory ? 150 : 60;
const messages = long ? 600 : 120;

const feed = (): Application =>
  new Application().ws(
    '/',
    { connectionMade: (socket) => socket.subscribe('feed'), messageReceived: () => {} },
    limits,
  );

async function readAll(socket: WebSocketConnection, all: number): Promise<number> {
  let count = 0;
  while (count < all) {
    await socket.receive();
    count++;
  }
  return count;
}

async function join(url: string, readers: number, all: number): Promise<Task<number>[]> {
  const tasks: Task<number>[] = [];
  while (tasks.length < readers) {
    const some = Array.from({ length: 10 }, () => openWebSocket(url.replace('http', 'ws')));
    for (const socket of await Promise.all(some)) {
      tasks.push(
        createTask(async () => {
          await using one = socket;
          return await readAll(one, all);
        }),
      );
    }
  }
  return tasks;
}

const ways: readonly [string, () => Promise<unknown>][] = [
  ['gives way', () => sleep(0)],
  ['has a timer', () => sleep(0.01)],
];

for (const [name, pause] of ways) {
  runTest(`a publisher that ${name} between messages loses no reader of its own loop`, () => {
    const app = feed();
    return withServer(app, async (url) => {
      const tasks = await join(url, many, messages);
      let least = many;
      for (let i = 0; i < messages; i++) {
        least = Math.min(least, app.publish('feed', message));
        await pause();
      }
      expect(least).toBe(many);
      for (const task of tasks) expect(await task).toBe(messages);
    });
  });
}

runTest('who does not read at all is closed all the same, and the others lose nothing', () => {
  const readers = 20;
  // More than a kernel holds for one that does not read.
  const all = 800;
  const app = feed();
  return withServer(app, async (url, server) => {
    const slow = await rawClient(server.port);
    const tasks = await join(url, readers, all);
    const reached: number[] = [];
    for (let i = 0; i < all; i++) {
      reached.push(app.publish('feed', message));
      await sleep(0);
    }
    expect([reached[0], Math.min(...reached), reached.at(-1)]).toEqual([
      readers + 1,
      readers,
      readers,
    ]);
    for (const task of tasks) expect(await task).toBe(all);
    slow.abort();
  });
});
