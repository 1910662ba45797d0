/**
 * RFC 8305 on virtual time: a network whose addresses answer when the test says. The cases are
 * those of trio's tests of open_tcp_stream and of CPython's staggered_race.
 */
import { describe, expect, test } from 'vitest';
import { isCancelled, systemErrorByCode, TimeoutError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection, ConnectOptions, SocketAddress } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import type { ConnectSink, ConnectTcp } from '../../lib/loop/backend.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { Runner } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { simulated } from '../../lib/testing/simulated.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { errorOf, FakeStream, localhost, nodeServer } from './support.ts';

checkLeaks();

const ip = (last: string): string => (last.includes(':') ? `fd00:${last}` : `10.0.0.${last}`);

function addresses(...lasts: string[]): SocketAddress[] {
  return lasts.map((last) => {
    return { address: ip(last), port: 0, family: last.includes(':') ? 'IPv6' : 'IPv4' };
  });
}

class NamedStream extends FakeStream {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }

  override remoteAddress(): SocketAddress {
    return { address: this.name, port: 80, family: this.name.includes(':') ? 'IPv6' : 'IPv4' };
  }
}

interface World {
  /** One line for each attempt and each socket closed without a connection, with the time. */
  readonly log: string[];
  readonly open: Set<string>;
  connect(options?: Partial<ConnectOptions>): Promise<Connection>;
}

/** What becomes of an attempt: `ok`, or an error's code, after so many ms; null: nothing, ever. */
type Fate = [result: string, afterMs: number] | null;

/** A run on virtual time, in which the fates of addresses are known. */
async function world(
  found: SocketAddress[],
  fates: Record<string, Fate>,
  main: (made: World) => Promise<void>,
): Promise<void> {
  const runner = new Runner({ policy: simulated(), handleSignals: false });
  try {
    await runner.run(async () => {
      const loop = currentLoop();
      const { timers } = loop.metrics();
      const log: string[] = [];
      const open = new Set<string>();
      const note = (text: string): void => void log.push(`${loop.time()} ${text}`);
      const byAddress = new Map(Object.entries(fates).map(([last, fate]) => [ip(last), fate]));
      loop.backendHandle.connectTcp = ({ host, localHost }: ConnectTcp, sink: ConnectSink) => {
        note(localHost === undefined ? `try ${host}` : `try ${host} from ${localHost}`);
        open.add(host);
        const fate = byAddress.get(host) ?? null;
        const timer = fate && loop.callLater(fate[1], () => end(host, fate[0], sink));
        return {
          cancel: () => {
            timer?.cancel();
            if (open.delete(host)) note(`close ${host}`);
          },
        };
      };
      const end = (host: string, result: string, sink: ConnectSink): void => {
        open.delete(host);
        if (result === 'ok') sink.onConnect(new NamedStream(host));
        else sink.onConnectError(systemErrorByCode(result, 'connect', host, 80));
      };
      const lookup = async () => found;
      const connect = (options: Partial<ConnectOptions> = {}): Promise<Connection> =>
        openConnection({ host: 'peer.test', port: 80, lookup, ...options });
      await main({ log, open, connect });
      expect([...open]).toEqual([]);
      expect(loop.metrics().timers).toBe(timers);
    });
  } finally {
    await runner.close();
  }
}

interface Case {
  readonly title: string;
  readonly found: string[];
  readonly fates: Record<string, Fate>;
  readonly options?: Partial<ConnectOptions>;
  /** The address that wins, or the codes of all errors in order. */
  readonly ends: string | string[];
  readonly atMs: number;
  readonly tries: string[];
}

const cases: Case[] = [
  {
    title: 'one address that answers',
    found: ['1'],
    fates: { '1': ['ok', 30] },
    ends: '1',
    atMs: 30,
    tries: ['0 1'],
  },
  {
    title: 'one that fails is its own error',
    found: ['1'],
    fates: { '1': ['ECONNREFUSED', 30] },
    ends: ['ECONNREFUSED'],
    atMs: 30,
    tries: ['0 1'],
  },
  {
    title: 'the first answers in its head start: no other is tried',
    found: ['1', '2'],
    fates: { '1': ['ok', 249], '2': ['ok', 1] },
    ends: '1',
    atMs: 249,
    tries: ['0 1'],
  },
  {
    title: 'the second answers first',
    found: ['1', '2'],
    fates: { '1': ['ok', 500], '2': ['ok', 100] },
    ends: '2',
    atMs: 350,
    tries: ['0 1', '250 2'],
  },
  {
    title: 'the first answers later than its head start, and first all the same',
    found: ['1', '2'],
    fates: { '1': ['ok', 300], '2': ['ok', 100] },
    ends: '1',
    atMs: 300,
    tries: ['0 1', '250 2'],
  },
  {
    title: 'a failure starts the next one at once',
    found: ['1', '2', '3'],
    fates: { '1': ['ECONNREFUSED', 10], '2': ['EHOSTUNREACH', 20], '3': ['ok', 5] },
    ends: '3',
    atMs: 35,
    tries: ['0 1', '10 2', '30 3'],
  },
  {
    title: 'a failure of an older attempt starts the next, too, with a full head start after it',
    found: ['1', '2', '3', '4'],
    fates: { '1': ['ECONNREFUSED', 260], '2': null, '3': null, '4': ['ok', 1] },
    ends: '4',
    atMs: 511,
    tries: ['0 1', '250 2', '260 3', '510 4'],
  },
  {
    title: 'silence everywhere but at the last one',
    found: ['1', '2', '3', '4'],
    fates: { '1': null, '2': null, '3': null, '4': ['ok', 7] },
    ends: '4',
    atMs: 757,
    tries: ['0 1', '250 2', '500 3', '750 4'],
  },
  {
    title: 'the last one is waited for without end',
    found: ['1', '2'],
    fates: { '1': null, '2': ['ok', 100_000] },
    ends: '2',
    atMs: 100_250,
    tries: ['0 1', '250 2'],
  },
  {
    title: 'all fail, each in its turn: all are listed in the order in which they failed',
    found: ['1', '2', '3'],
    fates: { '1': ['ETIMEDOUT', 600], '2': ['ECONNREFUSED', 100], '3': ['ENETUNREACH', 1] },
    ends: ['ECONNREFUSED', 'ENETUNREACH', 'ETIMEDOUT'],
    atMs: 600,
    tries: ['0 1', '250 2', '350 3'],
  },
  {
    title: 'a failure while another one still tries is no end',
    found: ['1', '2'],
    fates: { '1': ['ok', 400], '2': ['ECONNREFUSED', 10] },
    ends: '1',
    atMs: 400,
    tries: ['0 1', '250 2'],
  },
  {
    title: 'families take turns, beginning with that of the first address',
    found: [':1', ':2', ':3', '1', '2'],
    fates: { ':1': null, '1': null, ':2': null, '2': null, ':3': ['ok', 1] },
    ends: ':3',
    atMs: 1001,
    tries: ['0 :1', '250 1', '500 :2', '750 2', '1000 :3'],
  },
  {
    title: 'IPv4 first when the resolver says so',
    found: ['1', '2', ':1'],
    fates: { '1': null, ':1': null, '2': ['ok', 1] },
    ends: '2',
    atMs: 501,
    tries: ['0 1', '250 :1', '500 2'],
  },
  {
    title: 'a dead IPv6 costs one head start',
    found: [':1', '1'],
    fates: { ':1': null, '1': ['ok', 20] },
    ends: '1',
    atMs: 270,
    tries: ['0 :1', '250 1'],
  },
  {
    title: 'an IPv6 without a route costs nothing',
    found: [':1', '1'],
    fates: { ':1': ['ENETUNREACH', 0], '1': ['ok', 20] },
    ends: '1',
    atMs: 20,
    tries: ['0 :1', '0 1'],
  },
  {
    title: 'another head start',
    found: ['1', '2'],
    fates: { '1': null, '2': ['ok', 1] },
    options: { happyEyeballsDelayMs: 40 },
    ends: '2',
    atMs: 41,
    tries: ['0 1', '40 2'],
  },
  {
    title: 'no head start: all at once',
    found: ['1', '2', '3'],
    fates: { '1': null, '2': null, '3': ['ok', 5] },
    options: { happyEyeballsDelayMs: 0 },
    ends: '3',
    atMs: 5,
    tries: ['0 1', '0 2', '0 3'],
  },
  {
    title: 'an endless head start: one after the other',
    found: ['1', '2'],
    fates: { '1': ['ECONNREFUSED', 5000], '2': ['ok', 5] },
    options: { happyEyeballsDelayMs: Infinity },
    ends: '2',
    atMs: 5005,
    tries: ['0 1', '5000 2'],
  },
  {
    title: 'localHost is used for its family, other addresses are left out',
    found: [':1', '1', ':2', '2'],
    fates: { '1': null, '2': ['ok', 1] },
    options: { localHost: '10.0.0.99' },
    ends: '2',
    atMs: 251,
    tries: ['0 1 from 99', '250 2 from 99'],
  },
  {
    title: 'localHost of a family that no address has',
    found: ['1', '2'],
    fates: {},
    options: { localHost: 'fd00::99' },
    ends: ['EADDRNOTAVAIL'],
    atMs: 0,
    tries: [],
  },
  {
    title: 'no address at all',
    found: [],
    fates: {},
    ends: ['EADDRNOTAVAIL'],
    atMs: 0,
    tries: [],
  },
  {
    title: 'a time limit in the first head start',
    found: ['1', '2'],
    fates: { '1': null },
    options: { timeoutMs: 100 },
    ends: ['ETIMEDOUT'],
    atMs: 100,
    tries: ['0 1'],
  },
  {
    title: 'a time limit with several under way',
    found: ['1', '2', '3'],
    fates: { '1': null, '2': null, '3': null },
    options: { timeoutMs: 600 },
    ends: ['ETIMEDOUT'],
    atMs: 600,
    tries: ['0 1', '250 2', '500 3'],
  },
];

function short(line: string): string {
  const [time, , host = '', , from] = line.split(' ');
  const name = (text: string): string => text.replace(/^(10\.0\.0\.|fd00:)/, '');
  return `${time} ${name(host)}${from === undefined ? '' : ` from ${name(from)}`}`;
}

// covers: asyncio/create-connection, trio/happy-eyeballs
describe('happy eyeballs on virtual time', () => {
  test.each(cases)('$title', async ({ found, fates, options, ends, atMs, tries }) => {
    await world(addresses(...found), fates, async ({ log, open, connect }) => {
      const result = await connect(options).catch((error) => error);
      expect(currentTime()).toBe(atMs);
      expect([...open]).toEqual([]);
      expect(log.filter((line) => line.includes(' try ')).map(short)).toEqual(tries);
      if (typeof ends === 'string') {
        expect(result.remoteAddress.address).toBe(ip(ends));
        result.abort();
        return;
      }
      const codes = (result.errors ?? [result]).map((error: { code: string }) => error.code);
      expect(codes).toEqual(ends);
      expect(result.code).toBe(ends[0]);
    });
  });

  test('all the others are closed when the first answers', async () => {
    const fates: Record<string, Fate> = { '1': null, '2': ['ok', 300], '3': null };
    await world(addresses('1', '2', '3'), fates, async ({ log, connect }) => {
      const connection = await connect();
      expect(log.slice(-2)).toEqual(['550 close 10.0.0.1', '550 close 10.0.0.3']);
      connection.abort();
    });
  });

  test('two that answer at the same time: one is taken, the other is closed', async () => {
    const fates: Record<string, Fate> = { '1': ['ok', 300], '2': ['ok', 50] };
    await world(addresses('1', '2'), fates, async ({ open, connect }) => {
      const connection = await connect();
      expect(currentTime()).toBe(300);
      await sleep(10);
      expect([...open]).toEqual([]);
      connection.abort();
    });
  });

  test('the error of a time limit says what had failed before', async () => {
    const fates: Record<string, Fate> = { '1': ['ECONNREFUSED', 10], '2': null };
    await world(addresses('1', '2'), fates, async ({ connect }) => {
      const error = await errorOf(connect({ timeoutMs: 100 }));
      expect(error).toBeInstanceOf(TimeoutError);
      expect(error.message).toContain('peer.test:80');
      expect(error.cause).toMatchObject({ code: 'ECONNREFUSED', address: '10.0.0.1' });
    });
  });

  test('the error of all lists each address in its message', async () => {
    const fates: Record<string, Fate> = { '1': ['ECONNREFUSED', 1], ':1': ['EHOSTUNREACH', 1] };
    await world(addresses('1', ':1'), fates, async ({ connect }) => {
      const error = await errorOf(connect());
      expect(error).toBeInstanceOf(AggregateError);
      expect(error.message).toBe(
        'connect ECONNREFUSED 10.0.0.1:80; connect EHOSTUNREACH fd00::1:80',
      );
      expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect' });
    });
  });

  test('cancelled at any time, no socket stays open', async () => {
    const fates: Record<string, Fate> = { '1': ['ECONNREFUSED', 260], '2': null, '3': ['ok', 90] };
    for (const atMs of [0, 1, 249, 250, 251, 259, 260, 261, 300, 349]) {
      await world(addresses('1', '2', '3'), fates, async ({ open, connect }) => {
        const task: Task<Connection> = createTask(() => connect());
        await sleep(atMs);
        task.cancel();
        expect(isCancelled(await errorOf(task))).toBe(true);
        expect(currentTime()).toBe(atMs);
        expect([...open]).toEqual([]);
      });
      await world(addresses('1', '2', '3'), fates, async ({ open, connect }) => {
        expect(await moveOnAfter(atMs, () => connect())).toBe(undefined);
        expect([...open]).toEqual([]);
      });
    }
  });

  test('cancelled in the look-up: the user’s lookup is told, its answer is dropped', async () => {
    await world([], {}, async ({ connect }) => {
      let told = false;
      const lookup: ConnectOptions['lookup'] = async (_hostname, options) => {
        options?.signal?.addEventListener('abort', () => {
          told = true;
        });
        await new Promise((resolve) => currentLoop().callLater(50, resolve, undefined));
        return addresses('1');
      };
      const limited = await errorOf(connect({ lookup, timeoutMs: 20 }));
      expect(limited).toBeInstanceOf(TimeoutError);
      expect(told).toBe(true);
      await sleep(100);
    });
  });

  // CVE-2021-22931: what a resolver answers is taken for an address only if it is one.
  test('a lookup that throws, and one that gives no addresses', async () => {
    await world([], {}, async ({ connect }) => {
      const thrown = connect({
        lookup: () => {
          throw new Error('no resolver');
        },
      });
      expect((await errorOf(thrown)).message).toBe('no resolver');
      const names = connect({ lookup: async () => [{ address: 'name' }] as never });
      expect((await errorOf(names)).code).toBe('ERR_INVALID_ARG_TYPE');
      const nothing = connect({ lookup: (async () => 7) as never });
      expect((await errorOf(nothing)).code).toBe('ERR_INVALID_ARG_TYPE');
      expect((await errorOf(connect({ lookup: 7 as never }))).code).toBe('ERR_INVALID_ARG_TYPE');
    });
  });

  test('localHost may be a name: each family has its own address', async () => {
    const found = addresses(':1', '1');
    const fates: Record<string, Fate> = { ':1': null, '1': ['ok', 1] };
    await world(found, fates, async ({ log, connect }) => {
      const lookup = async (hostname: string) =>
        hostname === 'here.test' ? addresses('98', ':98') : found;
      const connection = await connect({ lookup, localHost: 'here.test' });
      expect(log.slice(0, 2).map(short)).toEqual(['0 :1 from :98', '250 1 from 98']);
      connection.abort();
    });
  });
});

// covers: trio/happy-eyeballs
describe('happy eyeballs on the tested policy', () => {
  const dead: SocketAddress = { address: '::1', port: 0, family: 'IPv6' };
  const alive: SocketAddress = { address: localhost, port: 0, family: 'IPv4' };

  test('an address that refuses, then one that answers', async () => {
    await using peer = await nodeServer();
    const lookup = async () => [dead, alive];
    await using connection = await openConnection({ host: 'x.test', port: peer.port, lookup });
    expect(connection.remoteAddress.address).toBe(localhost);
  });

  test('all refuse: one error that lists them', async () => {
    const peer = await nodeServer();
    const { port } = peer;
    await peer[Symbol.asyncDispose]();
    const lookup = async () => [alive, { ...alive, address: '127.0.0.2' }];
    const error = await errorOf(openConnection({ host: 'x.test', port, lookup }));
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.code).toBe('ECONNREFUSED');
    const tried = (error as AggregateError).errors.map((one: { address: string }) => one.address);
    expect(tried).toEqual([localhost, '127.0.0.2']);
  });

  test('localHost of the family that fits', async () => {
    await using peer = await nodeServer();
    const lookup = async () => [dead, alive];
    const options = { host: 'x.test', port: peer.port, lookup, localHost: '127.0.0.1' };
    await using connection = await openConnection(options);
    expect(connection.localAddress.address).toBe('127.0.0.1');
  });

  test('all at once: exactly one connection stays', async () => {
    const served: Connection[] = [];
    const server = await startServer(
      async (connection) => {
        served.push(connection);
        await connection.read();
      },
      { host: localhost },
    );
    const lookup = async () => Array.from({ length: 5 }, () => alive);
    const options = { host: 'x.test', port: server.port, lookup, happyEyeballsDelayMs: 0 };
    for (let i = 0; i < 5; i++) {
      const connection = await openConnection(options);
      await connection.close();
    }
    server.close();
    await server.waitClosed();
    expect(server.connections).toBe(0);
  });

  test.runIf(!inMemory)('localhost by its name, of one family', async () => {
    await using peer = await nodeServer();
    await using four = await openConnection({ host: 'localhost', port: peer.port, family: 4 });
    expect(four.remoteAddress.address).toBe(localhost);
  });
});
