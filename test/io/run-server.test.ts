/** runServer: a server of this thread, and programs with workers. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openConnection, openUnixConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection, ListenOptions } from '../../lib/io/net-types.ts';
import { type MakeServer, type RunServerOptions, runServer } from '../../lib/io/run-server.ts';
import { startServer } from '../../lib/io/start-server.ts';
import type { WorkerMetrics } from '../../lib/io/workers/messages.ts';
import { workerMetrics } from '../../lib/io/workers/metrics.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { inMemory, policyName } from '../support/policy.ts';
import {
  buildProgram,
  eventually,
  missingWorkers,
  WorkerProgram,
} from '../support/worker-program.ts';
import { failure, runTest } from '../task/support.ts';
import { deferred, localhost, Recorder, until } from './support.ts';
import { clientTls, identity, pem } from './tls-support.ts';

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}
const serveEcho: MakeServer = (listen) => startServer(echo, listen);

/** Serves in this thread while `body` runs, then ends as with a signal. */
async function serving(
  make: MakeServer,
  options: RunServerOptions,
  body: (url: string) => Promise<void>,
): Promise<void> {
  const scope = new CancelScope();
  const started = deferred<string>();
  const given = { host: localhost, handleSignals: false, print: started.resolve, ...options };
  const task = createTask(() => scope.run(() => runServer(make, given as RunServerOptions)));
  task.join().catch(started.reject);
  await body((await started.promise).replace('Running on ', ''));
  scope.cancel();
  await task;
}

const portOf = (url: string): number => Number(/\d+$/.exec(url)?.[0]);

async function connectTo(url: string, tls?: object): Promise<Connection> {
  return await openConnection({ host: localhost, port: portOf(url), ...(tls && { tls }) });
}

function socketPath(name: string): string {
  return join(tmpdir(), `uvio-${name}-${policyName}-${process.pid}`);
}

describe('in this thread', () => {
  runTest('serves until the end, and tells where, and how many', async () => {
    expect(await workerMetrics()).toEqual([]);
    await serving(serveEcho, {}, async (url) => {
      expect(url).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
      await using client = await connectTo(url);
      await client.write('x');
      expect(String(await client.read())).toBe('x');
      const load = { connections: 1, loop: { tasks: expect.any(Number) } };
      expect(await workerMetrics()).toMatchObject([
        { worker: 1, state: 'serving', restarts: 0, load },
      ]);
    });
    expect(await workerMetrics()).toEqual([]);
  });

  runTest('serves TLS, and protocols', async () => {
    const recorder = new Recorder();
    const make: MakeServer = (listen) => currentLoop().createServer(() => recorder, listen);
    await serving(make, { tls: identity('server') }, async (url) => {
      expect(url).toMatch(/^tls:/);
      const client = await connectTo(url, clientTls);
      await client.write('x');
      await until(() => recorder.log.includes('data x'));
      await client.close();
    });
  });

  test.skipIf(inMemory)('serves a UNIX socket, outside of a run, too', async () => {
    const path = socketPath('run');
    await serving(serveEcho, { path, host: undefined } as never, async (url) => {
      expect(url).toBe(`unix:${path}`);
      await using client = await openUnixConnection(path);
      await client.write('x');
      expect(String(await client.read())).toBe('x');
    });
    expect(existsSync(path)).toBe(false);
  });

  runTest('open connections may end by themselves, and are told to', async () => {
    const ended: string[] = [];
    const make: MakeServer = (listen, stopping) =>
      startServer(async (connection) => {
        await connection.write('1\n');
        await sleepForever({ signal: stopping }).catch(() => {});
        await connection.write('2\n');
        ended.push('handler');
      }, listen);
    let last: Promise<Buffer> | undefined;
    await serving(make, {}, async (url) => {
      const client = await connectTo(url);
      expect(await client.readLine()).toBe('1');
      last = client.readAll().finally(() => client.close());
    });
    expect(ended).toEqual(['handler']);
    expect(String(await last)).toBe('2\n');
  });

  runTest('handlers that do not end are cancelled when their time is up', async () => {
    const ended: string[] = [];
    const make: MakeServer = (listen) =>
      startServer(async (connection) => {
        try {
          await connection.write('hello');
          await sleepForever();
        } finally {
          ended.push('cancelled');
        }
      }, listen);
    let last: Promise<Buffer> | undefined;
    await serving(make, { shutdownTimeoutMs: 20 }, async (url) => {
      const client = await connectTo(url);
      expect(String(await client.readExactly(5))).toBe('hello');
      last = client.readAll().finally(() => client.close());
    });
    expect(ended).toEqual(['cancelled']);
    expect((await last)?.length).toBe(0);
  });

  runTest('a peer that takes nothing is cut off in the end', async () => {
    let written = false;
    const make: MakeServer = (listen) =>
      startServer(async (connection) => {
        const done = connection.write(Buffer.alloc(12 << 20));
        written = true;
        await done;
      }, listen);
    let client: Connection | undefined;
    await serving(make, { shutdownTimeoutMs: 0 }, async (url) => {
      client = await connectTo(url);
      await until(() => written);
    });
    client?.abort();
  });

  runTest('wrong arguments are told', async () => {
    const quiet = { handleSignals: false, print: null } as const;
    expect(await failure(runServer(null as never))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await failure(runServer(serveEcho, null as never))).toBeInstanceOf(TypeError);
    expect(await failure(runServer(serveEcho, { workers: 0 }))).toBeInstanceOf(RangeError);
    expect(await failure(runServer(serveEcho, { shutdownTimeoutMs: Number.NaN }))).toBeInstanceOf(
      TypeError,
    );
    const nothing = runServer((async () => {}) as never, quiet);
    expect((await failure(nothing)).message).toMatch(/make.*server/);
    const bad = runServer(serveEcho, { ...quiet, path: '/tmp/x', port: 1 });
    expect((await failure(bad)).message).toMatch(/path.*without host, port and fd/);
    const made = async (): Promise<never> => {
      throw new Error('no database');
    };
    expect((await failure(runServer(made, quiet))).message).toBe('no database');
  });

  if (inMemory) {
    runTest('on simulated, threads share nothing', async () => {
      const refused = runServer(serveEcho, { workers: 2, handleSignals: false });
      expect(await failure(refused)).toMatchObject({ code: 'ENOTSUP' });
    });
  }
});

let program = '';
type Settings = ListenOptions & { protocols?: boolean; shutdownTimeoutMs?: number };

class Served extends WorkerProgram {
  place: { port: number } | { path: string } = { port: 0 };
  secure = false;

  static async start(options: Settings, inherited?: number): Promise<Served> {
    const served = new Served(program, options, inherited);
    const line = await served.line(/^Running on .* with 2 workers$/);
    const { path, tls } = options;
    served.secure = tls !== undefined;
    served.place = path === undefined ? { port: Number(/:(\d+) /.exec(line)?.[1]) } : { path };
    return served;
  }

  async connect(): Promise<Connection> {
    const tls = this.secure ? { tls: clientTls } : {};
    if ('path' in this.place) return await openUnixConnection(this.place.path, tls);
    return await openConnection({ host: localhost, ...this.place, ...tls });
  }

  /** One connection to each of its workers, by their thread. */
  async reach(count: number): Promise<[thread: string, client: Connection][]> {
    const found: Map<string, Connection> = new Map();
    while (found.size < count) {
      const client = await this.connect();
      const thread = await ask(client, 'who').catch(() => null);
      if (thread === null || found.has(thread)) await client.close().catch(() => {});
      else found.set(thread, client);
    }
    return [...found];
  }
}

async function ask(client: Connection, line: string): Promise<string> {
  await client.write(`${line}\n`);
  const answer = await client.readLine();
  if (answer === null) throw new Error('the end');
  return answer;
}

type Pair = [[string, Connection], [string, Connection]];

/** One worker dies with a question of each; the other answers; both come again; SIGTERM. */
async function dieAndEnd(served: Served): Promise<void> {
  const [[, one], [, two]] = (await served.reach(2)) as Pair;
  const told = JSON.parse(await ask(one, 'metrics')) as WorkerMetrics[];
  expect(told.map(({ worker, state }) => `${worker} ${state}`)).toEqual(['1 serving', '2 serving']);
  expect(told.reduce((sum, { load }) => sum + (load?.connections ?? 0), 0)).toBeGreaterThan(1);
  const kept = ask(two, '300');
  await served.line(/^slow$/);
  expect(await failure(ask(one, 'exit'))).toBeInstanceOf(Error);
  expect(await kept).toBe('slept');
  await served.error(/Worker \d ended with exit code 5; it starts again in 100 ms\n/);
  await eventually(() => served.allServe());
  expect((await served.metrics()).reduce((sum, { restarts }) => sum + restarts, 0)).toBe(1);
  const [[, three], [, four]] = (await served.reach(2)) as Pair;
  const slow = [ask(three, '200'), ask(four, '200')];
  await served.until(() => served.lines.filter((line) => line === 'slow').length > 2 || undefined);
  const ended = served.end('SIGTERM');
  expect(await Promise.all(slow)).toEqual(['slept', 'slept']);
  for (const client of [one, two, three, four]) await client.close().catch(() => {});
  expect(await ended).toEqual([0, null]);
  expect(served.lines.at(-1)).toBe('the end');
  expect(await failure(served.connect())).toBeInstanceOf(Error);
}

describe.skipIf(missingWorkers !== null || inMemory).concurrent('workers', () => {
  beforeAll(async () => {
    program = await buildProgram(new URL('./programs/served.mjs', import.meta.url), 'served');
  });
  const limitMs = 30_000;

  // covers: uvio/workers
  test(
    'share a port; one dies with its own connections and comes again; all end at SIGTERM',
    async () => {
      await using served = await Served.start({ host: localhost });
      await dieAndEnd(served);
    },
    limitMs,
  );

  test.runIf(policyName === 'native')(
    'share a UNIX socket, with TLS on it',
    async () => {
      const path = socketPath('workers');
      const tls = { cert: `${pem('server.pem')}`, key: `${pem('server-key.pem')}` };
      await using served = await Served.start({ path, tls });
      await dieAndEnd(served);
      expect(existsSync(path)).toBe(false);
    },
    limitMs,
  );

  test.runIf(policyName === 'native')(
    'share a descriptor, serve protocols, and end those that stay when their time is up',
    async () => {
      const given = createServer().listen(0, localhost);
      await once(given, 'listening');
      const { port } = given.address() as AddressInfo;
      const { fd } = (given as unknown as { _handle: { fd: number } })._handle;
      const options = { fd: 3, protocols: true, shutdownTimeoutMs: 50 };
      await using served = await Served.start(options, fd);
      given.close();
      expect(served.place).toEqual({ port });
      const [[, one], [, two]] = (await served.reach(2)) as Pair;
      expect(await served.end('SIGTERM')).toEqual([0, null]);
      for (const client of [one, two]) {
        expect(await client.read()).toBe(null);
        await client.close();
      }
      expect(served.errors).toBe('');
    },
    limitMs,
  );
});
