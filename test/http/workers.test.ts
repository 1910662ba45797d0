/** Workers of `runApp`: programs of several threads, and what becomes of them when some die. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import {
  Application,
  Response,
  runApp,
  type WorkerMetrics,
  workerMetrics,
} from '../../lib/http/index.ts';
import { checkLeaks } from '../support/leaks.ts';
import { failure, runTest } from '../task/support.ts';
import {
  ask,
  Client,
  eventually,
  Load,
  missingWorkers,
  Program,
  refused,
} from './workers-support.ts';

checkLeaks();

describe.skipIf(missingWorkers !== null)('workers', () => {
  // covers: gunicorn/workers
  test('each serves on the shared port in a thread of its own, and one tells of all', async () => {
    await using program = await Program.start();
    expect(program.lines[0]).toMatch(/^Running on http:\/\/127\.0\.0\.1:\d+\/ with 2 workers$/);
    const clients = await program.reach(2);
    expect(clients.map((client) => client.threadId).sort()).toEqual(['1', '2']);
    const [one, two] = clients as [Client, Client];
    for (let i = 0; i < 10; i++) await one.ask('/who');
    const metrics = JSON.parse((await two.ask('/metrics')).text);
    expect(metrics).toMatchObject([
      { worker: 1, state: 'serving', restarts: 0 },
      { worker: 2, state: 'serving', restarts: 0 },
    ]);
    const loads = metrics.map((one: { load: { served: number } }) => one.load.served);
    expect(Math.max(...loads)).toBeGreaterThan(10);
    expect(metrics[0].load).toMatchObject({ connections: expect.any(Number), requests: 0 });
    expect(metrics[1].load.loop).toMatchObject({ tasks: expect.any(Number) });
    program.say('metrics');
    expect(JSON.parse(await program.line(/^\[/))).toMatchObject([{ worker: 1 }, { worker: 2 }]);
    for (const client of clients) await client.close();
    expect(await program.end('SIGTERM')).toEqual([0, null]);
    const ends = program.lines.filter((line) => line.startsWith('worker '));
    expect(ends).toHaveLength(2);
    expect(program.lines.at(-1)).toBe('the end');
    expect(program.errors).toBe('');
  });

  test('SIGTERM lets requests under way end, in each worker', async () => {
    await using program = await Program.start();
    const [one, two] = (await program.reach(2)) as [Client, Client];
    const slow = [one.ask('/slow/400'), two.ask('/slow/300')];
    const idle = await Client.open(program.port);
    await idle.ask('/who');
    const ended = program.end('SIGTERM');
    await expect(idle.ask('/who')).rejects.toThrow();
    expect(await Promise.all(slow)).toEqual([
      { status: 200, text: 'slept' },
      { status: 200, text: 'slept' },
    ]);
    expect(await ended).toEqual([0, null]);
    await expect(Client.open(program.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('a second signal ends the process at once', async () => {
    await using program = await Program.start();
    const asked = ask(program.port, '/slow/60000').catch(() => 'lost');
    await eventually(async () => (await program.metrics()).some((one) => one.load?.requests === 2));
    program.child.kill('SIGINT');
    await eventually(() => refused(program.port));
    expect(await program.end('SIGINT')).toEqual([null, 'SIGINT']);
    expect(await asked).toBe('lost');
  });

  test('a worker that dies takes its own requests with it, and comes again', async () => {
    await using program = await Program.start();
    for (const [how, told] of [
      ['/throw', /Worker \d died; it starts again in 100 ms\nError: a bug.*code: 'EBUG'/s],
      ['/exit', /Worker \d ended with exit code 5; it starts again in \d00 ms\n/],
      ['kill', /Worker \d ended with exit code 1; it starts again in \d00 ms\n/],
    ] as const) {
      const [one, two] = (await program.reach(2)) as [Client, Client];
      const beside = await program.reachThread(one.threadId);
      const [lost, kept] = [one.ask('/slow/60000'), two.ask('/slow/200')];
      void lost.catch(() => {});
      await eventually(async () => (await program.metrics()).some(({ load }) => load?.requests !== 0));
      if (how === 'kill') program.say(`kill ${beside.threadId}`);
      else void beside.ask(how).catch(() => {});
      await expect(lost).rejects.toThrow();
      expect(await kept).toMatchObject({ status: 200 });
      expect(await two.ask('/who')).toMatchObject({ text: two.threadId });
      await program.error(told);
      await eventually(() => program.allServe());
    }
    const restarts = (await program.metrics()).map((one) => one.restarts);
    expect((restarts[0] as number) + (restarts[1] as number)).toBe(3);
    expect(await program.end('SIGTERM')).toEqual([1, null]);
  });

  test('one that cannot start again is tried in growing pauses while others serve', async () => {
    await using program = await Program.start();
    program.say('break 1');
    const [one, two] = (await program.reach(2)) as [Client, Client];
    program.say(`kill ${one.threadId}`);
    await program.error(/exit code 1; .* 100 ms.*no database/s);
    await program.error(/again in 200 ms.*again in 400 ms/s);
    expect(await two.ask('/who')).toMatchObject({ status: 200 });
    expect((await program.metrics()).map((each) => each.load === null)).toContain(true);
    program.say('break 0');
    await eventually(() => program.allServe());
    expect(await program.end('SIGTERM')).toEqual([1, null]);
  });

  test('when none serves and none can start, the program ends with the error', async () => {
    await using program = await Program.start();
    const clients = await program.reach(2);
    program.say('break 1');
    for (const { threadId } of clients) program.say(`kill ${threadId}`);
    expect(await program.end()).toEqual([1, null]);
    expect(program.errors.match(/it starts again/g)?.length).toBeGreaterThanOrEqual(8);
    expect(program.errors).toMatch(/at async superviseWorkers|Error: no database/);
    expect(program.lines).not.toContain('the end');
  });

  test('a first start that fails ends the program with its error', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    for (const [options, told] of [
      [{ fault: 'throw' }, /Error: no database/],
      [{ fault: 'exit' }, /Worker 1 ended with exit code 3 before it served/],
      [{ port }, /EADDRINUSE/],
    ] as const) {
      await using program = new Program(options);
      expect(await program.end()).toEqual([1, null]);
      expect(program.errors).toMatch(told);
      expect(program.lines).toEqual([]);
    }
    taken.close();
  });

  test('a signal ends workers that have not begun to serve', async () => {
    await using program = new Program({ fault: 'hang' });
    await program.line(/^worker starts/);
    expect(await program.end('SIGTERM')).toEqual([0, null]);
    expect(program.errors).toMatch(/Worker 1 did not end in time and was stopped/);
    expect(program.lines.at(-1)).toBe('the end');
  });

  test('a worker that does not stop, or whose program does not, is stopped', async () => {
    const stubborn = async (after: 'hang' | undefined): Promise<void> => {
      const options = after === undefined ? {} : { after };
      await using program = await Program.start({ shutdownTimeoutMs: 0, ...options });
      const asked = after ?? ask(program.port, '/spin/60000').catch(() => 'lost');
      await eventually(async () => {
        const loads = (await program.metrics()).map((one) => one.load);
        return after !== undefined || loads.includes(null);
      });
      expect(await program.end('SIGTERM')).toEqual([0, null]);
      expect(program.errors).toMatch(/Worker \d did not end in time and was stopped/);
      if (after === undefined) expect(await asked).toBe('lost');
    };
    await Promise.all([stubborn('hang'), stubborn(undefined)]);
  });

  test('a cancelled runApp closes its workers; a second one with workers is refused', async () => {
    await using program = await Program.start({ cancelMs: 800, after: 'again' });
    expect((await ask(program.port, '/slow/900')).text).toBe('slept');
    expect(await program.end()).toEqual([1, null]);
    expect(program.lines.filter((line) => / handled 1$/.test(line))).toHaveLength(1);
    expect(program.errors).toMatch(/runApp\(\) with workers can be called once in a program/);
  });

  test('SIGTERM under load loses no request that was accepted', async () => {
    await using program = await Program.start();
    const load = new Load(program.port);
    await eventually(async () => load.answered > 500);
    expect(await program.end('SIGTERM')).toEqual([0, null]);
    await load.end();
    expect(load.broken).toBe(0);
    const handled = program.lines.map((line) => Number(/ handled (\d+)$/.exec(line)?.[1] ?? 0));
    expect(handled.reduce((sum, one) => sum + one)).toBe(load.answered);
  });
});

test.runIf(missingWorkers !== null)('without reusePort, workers are ENOTSUP', async () => {
  await using program = new Program();
  expect(await program.end()).toEqual([1, null]);
  expect(program.errors).toMatch(/ENOTSUP.*reusePort needs Node/s);
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
    const both = { workers: 2, path: '/tmp/x' } as const;
    expect(await failure(runApp(app, both))).toBeInstanceOf(TypeError);
    expect(await failure(runApp(app, { workers: 2, fd: 3 }))).toBeInstanceOf(TypeError);
    expect(await failure(runApp({} as never, { workers: 2 }))).toBeInstanceOf(TypeError);
    expect(await failure(workerMetrics({ timeoutMs: Number.NaN }))).toBeInstanceOf(TypeError);
  });

  runTest('metrics are of the one there is, and of none without runApp', async () => {
    const app = new Application().get('/', () => new Response('hello'));
    const found: WorkerMetrics[][] = [await workerMetrics() as WorkerMetrics[]];
    const controller = new AbortController();
    const print = async (text: string): Promise<void> => {
      const port = Number(/:(\d+)\//.exec(text)?.[1]);
      expect((await ask(port, '/')).text).toBe('hello');
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
