/** Servers that close while clients are connected, and figures of programs without workers. */
import { describe, expect } from 'vitest';
import {
  Application,
  Response,
  runApp,
  serve,
  type WorkerMetrics,
  workerMetrics,
} from '../../lib/http/index.ts';
import { Event } from '../../lib/index.ts';
import { checkLeaks } from '../support/leaks.ts';
import { failure, runTest } from '../task/support.ts';
import { ask, Client, refused } from './workers-support.ts';

checkLeaks();

describe('a server that closes', () => {
  for (const [title, drainMs] of [
    ['serves kept connections while onShutdown waits', 0],
    ['serves them for drainMs, and has their clients close', 60_000],
  ] as const) {
    runTest(title, async () => {
      const [asked, goOn] = [new Event(), new Event()];
      const app = new Application().get('/', () => new Response('hello'));
      app.onShutdown(async () => {
        asked.set();
        if (drainMs === 0) await goOn.wait();
      });
      const server = await serve(app, { host: '127.0.0.1', port: 0 });
      const [kept, idle] = [await Client.open(server), await Client.open(server)];
      for (const client of [kept, idle])
        expect(await client.ask('/')).toMatchObject({ status: 200 });
      expect(kept.closes).toBe(false);
      const closed = server.close({ drainMs });
      await asked.wait();
      expect(await refused(server)).toBe(true);
      expect((await kept.ask('/')).text).toBe('hello');
      expect(kept.closes).toBe(true);
      await kept.ended();
      await kept.close();
      // The drain ends with the last connection, however long it may take.
      if (drainMs > 0) await idle.close();
      goOn.set();
      await closed;
      await idle.close();
    });
  }

  runTest('ends idle connections after drainMs', async () => {
    const server = await serve(new Application(), { host: '127.0.0.1', port: 0 });
    const idle = await Client.open(server);
    await idle.ask('/');
    const closed = server.close({ drainMs: 20 });
    await idle.ended();
    await closed;
    await idle.close();
  });
});

describe('without workers', () => {
  runTest('options that mean nothing are refused', async () => {
    const app = new Application();
    for (const [workers, error] of [
      [0, RangeError],
      [1.5, RangeError],
      ['2', TypeError],
      [null, TypeError],
    ] as const) {
      expect(await failure(runApp(app, { workers: workers as never }))).toBeInstanceOf(error);
    }
    const both = { fd: 3, port: 80 } as const;
    expect(await failure(runApp(app, { workers: 2, ...both }))).toBeInstanceOf(TypeError);
    expect(await failure(runApp(app, { drainMs: Number.NaN }))).toBeInstanceOf(TypeError);
    expect(await failure(runApp({} as never, { workers: 2 }))).toBeInstanceOf(TypeError);
    expect(await failure(workerMetrics({ timeoutMs: Number.NaN }))).toBeInstanceOf(TypeError);
  });

  runTest('metrics are of the one there is, and of none without runApp', async () => {
    const app = new Application().get('/', () => new Response('hello'));
    const found: WorkerMetrics[][] = [(await workerMetrics()) as WorkerMetrics[]];
    const controller = new AbortController();
    const print = async (text: string): Promise<void> => {
      const port = Number(/:(\d+)\//.exec(text)?.[1]);
      expect((await ask({ port }, '/')).text).toBe('hello');
      found.push((await workerMetrics()) as WorkerMetrics[]);
      controller.abort(new Error('enough'));
    };
    const { signal } = controller;
    const options = { host: '127.0.0.1', port: 0, print, signal, handleSignals: false } as const;
    expect((await failure(runApp(app, options as never))).message).toBe('enough');
    expect(found[0]).toEqual([]);
    expect(found[1]).toMatchObject([{ worker: 1, state: 'serving', load: { served: 1 } }]);
    expect(await workerMetrics()).toEqual([]);
  });
});
