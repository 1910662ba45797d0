/** Writes to peers that read as fast: others have their turns. Run on every policy. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { resolved } from '../../lib/base/quiet.ts';
import { Application, Response } from '../../lib/http/index.ts';
import { CancelScope, createTask, openConnection, sleep, taskGroup } from '../../lib/index.ts';
import { budgetBytes, noteRead, writePace } from '../../lib/task/write-pace.ts';
import { realNetwork, withServer } from '../http/support.ts';
import { realTimeTest, runTest } from '../task/support.ts';

const chunkBytes = 65_536;
const chunk = Buffer.alloc(chunkBytes, 'x');
const totalBytes = 48 * 1024 * 1024;

/** In a thread of its own: a server that reads all, and a client that asks and reads all. */
const reader = `
const { createServer, connect } = require('node:net');
const { parentPort } = require('node:worker_threads');
const read = (socket) => socket.on('error', () => {}).on('data', () => {});
const server = createServer(read).listen(0, '127.0.0.1', () => {
  parentPort.postMessage(server.address().port);
});
parentPort.on('message', (port) => {
  const socket = read(connect(port, '127.0.0.1'));
  socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n');
});
`;

let worker: Worker;
let readerPort = 0;
beforeAll(async () => {
  if (!realNetwork) return;
  worker = new Worker(reader, { eval: true });
  [readerPort] = await once(worker, 'message');
});
afterAll(() => worker?.terminate());

/** The most bytes that were written between two turns of another task. */
class Watch {
  bytes = 0;
  most = 0;
  #before = 0;

  async run(): Promise<never> {
    for (;;) {
      await sleep(0.01);
      this.most = Math.max(this.most, this.bytes - this.#before);
      this.#before = this.bytes;
    }
  }
}

async function watched(work: (watch: Watch) => Promise<unknown>): Promise<Watch> {
  const watch = new Watch();
  const watching = createTask(() => watch.run());
  try {
    await work(watch);
  } finally {
    await watching.cancelAndWait();
  }
  return watch;
}

// A write more than fits is in each budget, and what looks at the network bring that follow one
// another within 0.2 ms (native) comes before it: some chunks.
const bound = (writers: number): number => 1.5 * budgetBytes + 2 * writers * chunkBytes;

describe('writes of what was read', () => {
  runTest('are not held, however many there are', () => {
    const pace = writePace();
    for (let i = 0; i < 1000; i++) {
      noteRead(chunkBytes);
      expect(pace.written(chunkBytes, undefined)).toBe(resolved);
    }
  });

  runTest('do not add up: reading much does not let one write more than the budget', async () => {
    const pace = writePace();
    for (let i = 0; i < 1000; i++) noteRead(chunkBytes);
    const fit = budgetBytes / chunkBytes;
    for (let i = 1; i < fit; i++) expect(pace.written(chunkBytes, undefined)).toBe(resolved);
    const held = pace.written(chunkBytes, undefined);
    expect(held).not.toBe(resolved);
    await held;
  });
});

describe('a loop of writes to a peer that reads at once', () => {
  for (const writers of [1, 8]) {
    realTimeTest(`by ${writers} connections leaves others their turns`, async () => {
      const watch = await watched(async (count) => {
        await taskGroup((group) => {
          for (let i = 0; i < writers; i++) {
            group.startSoon(async () => {
              await using connection = await openConnection({
                host: '127.0.0.1',
                port: readerPort,
              });
              for (let sent = 0; sent < totalBytes / writers; sent += chunkBytes) {
                await connection.write(chunk);
                count.bytes += chunkBytes;
              }
            });
          }
        });
      });
      expect(watch.bytes).toBe(totalBytes);
      expect(watch.most).toBeLessThanOrEqual(bound(writers));
    });
  }

  realTimeTest('is cancelled, and its connection goes on', async () => {
    await using connection = await openConnection({ host: '127.0.0.1', port: readerPort });
    const scope = new CancelScope();
    let sent = 0;
    const writing = createTask(() =>
      scope.run(async () => {
        for (;;) {
          await connection.write(chunk);
          sent += chunkBytes;
        }
      }),
    );
    while (sent < 4 * budgetBytes) await sleep(0);
    scope.cancel();
    await writing;
    await connection.write('more');
    expect(connection.open).toBe(true);
  });

  realTimeTest('of small ones leaves others their turns', async () => {
    await using connection = await openConnection({ host: '127.0.0.1', port: readerPort });
    let writes = 0;
    const watch = await watched(async (count) => {
      for (; writes < 30_000; writes++) {
        await connection.write('x');
        count.bytes++;
      }
    });
    expect(watch.most).toBeLessThanOrEqual(70_000);
  });

  realTimeTest('as the body of a response leaves others their turns', async () => {
    let ended = (): void => {};
    const end = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const watch = await watched(async (count) => {
      async function* parts(): AsyncGenerator<Buffer> {
        for (let sent = 0; sent < totalBytes; sent += chunkBytes) {
          count.bytes += chunkBytes;
          yield chunk;
        }
        ended();
      }
      const app = new Application().get('/', () => new Response(parts()));
      await withServer(app, async (_url, { port }) => {
        worker.postMessage(port);
        await end;
      });
    });
    expect(watch.bytes).toBe(totalBytes);
    expect(watch.most).toBeLessThanOrEqual(bound(1));
  });
});
