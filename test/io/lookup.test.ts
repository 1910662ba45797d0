import { describe, expect, test } from 'vitest';
import { isCancelled } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { DnsCache } from '../../lib/io/dns-cache.ts';
import { lookup, lookupService } from '../../lib/io/names.ts';
import type { LookupFunction, SocketAddress } from '../../lib/io/net-types.ts';
import { EventLoop } from '../../lib/loop/event-loop.ts';
import { createPureBackend } from '../../lib/loop/pure/backend.ts';
import { Runner } from '../../lib/task/run.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import '../../lib/task/loop-methods.ts';
import { simulated } from '../../lib/testing/simulated.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { runTest, virtualTest } from '../task/support.ts';
import { errorOf, localhost, nodeServer, turn } from './support.ts';

checkLeaks();

const one: SocketAddress = { address: '10.0.0.1', port: 0, family: 'IPv4' };

/** A resolver that counts, and answers after a while. */
function counting(answerMs = 10): { asked: string[]; lookup: LookupFunction } {
  const asked: string[] = [];
  return {
    asked,
    lookup: async (hostname, options) => {
      asked.push(`${hostname} ${options?.family}`);
      await sleep(answerMs);
      if (hostname.startsWith('no')) {
        throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' });
      }
      return [one];
    },
  };
}

// covers: asyncio/getaddrinfo, uvloop/dns
describe('lookup', () => {
  test('localhost', async () => {
    const found = await lookup('localhost');
    expect(found.length).toBeGreaterThan(0);
    for (const { port, address } of found) {
      expect(port).toBe(0);
      expect([localhost, '::1']).toContain(address);
    }
  });

  test('of one family', async () => {
    expect(await lookup('localhost', { family: 4 })).toEqual([
      { address: localhost, port: 0, family: 'IPv4' },
    ]);
  });

  test.each([
    ['127.0.0.1', 'IPv4'],
    ['::1', 'IPv6'],
    ['fe80::1', 'IPv6'],
  ])('the IP address %s is its own', async (address, family) => {
    expect(await lookup(address)).toEqual([{ address, port: 0, family }]);
  });

  test('an IP address of the other family is not found', async () => {
    expect(await errorOf(lookup('127.0.0.1', { family: 6 }))).toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: '127.0.0.1',
      message: 'getaddrinfo ENOTFOUND 127.0.0.1',
    });
  });

  test('a name that does not exist has Node’s error', async () => {
    const error = await errorOf(lookup('nothing.invalid'));
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
    expect(error).toMatchObject({ syscall: 'getaddrinfo', hostname: 'nothing.invalid' });
  });

  test('cancelled, it rejects at once', async () => {
    const task = createTask(() => lookup('localhost'));
    await Promise.resolve();
    task.cancel();
    expect(isCancelled(await errorOf(task))).toBe(true);
  });

  test('a signal ends it with its reason, before and while it waits', async () => {
    const aborted = lookup('localhost', { signal: AbortSignal.abort(new Error('before')) });
    expect((await errorOf(aborted)).message).toBe('before');
    const controller = new AbortController();
    const waiting = lookup('localhost', { signal: controller.signal });
    controller.abort(new Error('while'));
    expect((await errorOf(waiting)).message).toBe('while');
  });

  runTest('a cancelled scope ends it, and the task goes on', async () => {
    const scope = new CancelScope();
    await scope.run(() => {
      const waiting = lookup('localhost');
      scope.cancel();
      return waiting;
    });
    expect(scope.cancelledCaught).toBe(true);
    expect((await lookup('localhost')).length).toBeGreaterThan(0);
  });

  test('the late answer of a cancelled call reaches nobody', async () => {
    let answer: (() => void) | undefined;
    let stopped = 0;
    const loop = new EventLoop((host) => {
      const backend = createPureBackend(host);
      backend.lookup = (_hostname, _family, done) => {
        answer = () => done(null, [{ address: '10.0.0.1', family: 4 }]);
        return () => {
          stopped++;
        };
      };
      return backend;
    });
    const task = loop.createTask(() => lookup('slow.test'));
    await turn();
    task.cancel();
    expect(isCancelled(await errorOf(task))).toBe(true);
    expect(stopped).toBe(1);
    answer?.();
    await turn();
    await loop.close();
  });

  test.each([
    ['', {}],
    ['a\0b', {}],
    [7, {}],
    ['localhost', { family: 5 }],
  ])('lookup(%j, %j) is refused', async (hostname, options) => {
    expect((await errorOf(lookup(hostname as string, options as never))).code).toBe(
      'ERR_INVALID_ARG_TYPE',
    );
  });
});

// covers: asyncio/getaddrinfo, uvloop/dns
describe('lookupService', () => {
  test('an address and a port have names', async () => {
    const { hostname, service } = await lookupService(localhost, 49_999);
    expect(hostname).not.toBe('');
    expect(service).toBe('49999');
  });

  test('cancelled, it rejects at once', async () => {
    const task = createTask(() => lookupService(localhost, 1));
    await Promise.resolve();
    task.cancel();
    expect(isCancelled(await errorOf(task))).toBe(true);
  });

  test.each([
    ['localhost', 1, 'ERR_INVALID_ARG_TYPE'],
    [localhost, -1, 'ERR_SOCKET_BAD_PORT'],
    [localhost, '80', 'ERR_INVALID_ARG_TYPE'],
  ])('lookupService(%j, %j) is refused', async (address, port, code) => {
    expect((await errorOf(lookupService(address, port as number))).code).toBe(code);
  });
});

describe('names of a simulation', () => {
  const hosts = { 'db.test': ['10.0.0.7', 'fd00::7'], 'web.test': '10.0.0.8' };

  async function simulate(main: () => Promise<void>): Promise<void> {
    const policy = simulated({ hosts, latencyMs: 5 });
    const runner = new Runner({ policy, handleSignals: false });
    try {
      await runner.run(main);
    } finally {
      await runner.close();
    }
  }

  test('hosts, families and names of addresses', () =>
    simulate(async () => {
      expect((await lookup('db.test')).map(({ address }) => address)).toEqual(hosts['db.test']);
      expect((await lookup('db.test', { family: 6 })).map(({ family }) => family)).toEqual([
        'IPv6',
      ]);
      expect((await errorOf(lookup('web.test', { family: 6 }))).code).toBe('ENOTFOUND');
      expect(await lookupService('10.0.0.8', 80)).toEqual({ hostname: 'web.test', service: '80' });
      expect(await errorOf(lookupService('10.9.9.9', 80))).toMatchObject({
        code: 'ENOTFOUND',
        syscall: 'getnameinfo',
      });
    }));
});

// covers: aiohttp/resolver
describe('DnsCache', () => {
  virtualTest('an answer is kept for ttlMs', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ ttlMs: 1000, lookup: ask });
    expect(await cache.lookup('a.test')).toEqual([one]);
    await sleep(999);
    expect(await cache.lookup('a.test')).toEqual([one]);
    expect(asked).toEqual(['a.test 0']);
    await sleep(1);
    await cache.lookup('a.test');
    expect(asked.length).toBe(2);
    expect(cache.size).toBe(1);
  });

  virtualTest('names are the same in any case, families are not', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    await cache.lookup('A.test');
    await cache.lookup('a.TEST');
    await cache.lookup('a.test', { family: 4 });
    expect(asked).toEqual(['A.test 0', 'a.test 4']);
  });

  virtualTest('what was given out may be changed', async () => {
    const cache = new DnsCache({ lookup: counting().lookup });
    (await cache.lookup('a.test')).length = 0;
    expect(await cache.lookup('a.test')).toEqual([one]);
  });

  virtualTest('errors are not kept', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    expect((await errorOf(cache.lookup('no.test'))).code).toBe('ENOTFOUND');
    expect(cache.size).toBe(0);
    expect((await errorOf(cache.lookup('no.test'))).code).toBe('ENOTFOUND');
    expect(asked.length).toBe(2);
  });

  virtualTest('those who ask at the same time share one call, also its error', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    const answers = await Promise.all(Array.from({ length: 5 }, () => cache.lookup('a.test')));
    expect(answers).toEqual(Array.from({ length: 5 }, () => [one]));
    const failures = Array.from({ length: 3 }, () => errorOf(cache.lookup('no.test')));
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual(
      Array(3).fill('ENOTFOUND'),
    );
    expect(asked).toEqual(['a.test 0', 'no.test 0']);
  });

  virtualTest('the first who asks may be cancelled: the others get their answer', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    const first = createTask(() => cache.lookup('a.test'));
    const second = createTask(() => cache.lookup('a.test'));
    await sleep(5);
    first.cancel();
    expect(isCancelled(await errorOf(first))).toBe(true);
    expect(await second).toEqual([one]);
    expect(asked.length).toBe(1);
  });

  virtualTest('when all are cancelled, the answer is kept for the next', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    const only = createTask(() => cache.lookup('a.test'));
    await sleep(5);
    only.cancel();
    await errorOf(only);
    await sleep(10);
    expect(await cache.lookup('a.test')).toEqual([one]);
    expect(asked.length).toBe(1);
  });

  virtualTest('above maxEntries the one not used for longest goes', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ maxEntries: 2, lookup: ask });
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await cache.lookup(name);
    expect(asked.map((line) => line[0])).toEqual(['a', 'b', 'c', 'b']);
    expect(cache.size).toBe(2);
  });

  virtualTest('clear forgets one name, or all', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    await cache.lookup('a');
    await cache.lookup('b');
    cache.clear('A');
    await cache.lookup('a');
    await cache.lookup('b');
    expect(asked.length).toBe(3);
    cache.clear();
    expect(cache.size).toBe(0);
  });

  virtualTest('an IP address is not asked for', async () => {
    const { asked, lookup: ask } = counting();
    const cache = new DnsCache({ lookup: ask });
    expect(await cache.lookup('10.0.0.1')).toEqual([one]);
    expect((await errorOf(cache.lookup('10.0.0.1', { family: 6 }))).code).toBe('ENOTFOUND');
    expect(asked).toEqual([]);
  });

  runTest('a cancelled task gets nothing, also what is kept', async () => {
    const cache = new DnsCache({ lookup: async () => [one] });
    await cache.lookup('a.test');
    const task = createTask(async () => {
      task.cancel();
      return await cache.lookup('a.test');
    });
    expect(isCancelled(await errorOf(task))).toBe(true);
    const signal = AbortSignal.abort(new Error('aborted'));
    expect((await errorOf(cache.lookup('a.test', { signal }))).message).toBe('aborted');
  });

  test('openConnection with a cache', async () => {
    const asked: string[] = [];
    const cache = new DnsCache({
      lookup: async (hostname) => {
        asked.push(hostname);
        return [{ address: localhost, port: 0, family: 'IPv4' }];
      },
    });
    await using peer = await nodeServer();
    for (let i = 0; i < 2; i++) {
      const options = { host: 'server.test', port: peer.port, lookup: cache.lookup };
      await using connection = await openConnection(options);
      expect(connection.remoteAddress.address).toBe(localhost);
    }
    expect(asked).toEqual(['server.test']);
  });

  test.runIf(!inMemory)('without a lookup of its own it asks the system', async () => {
    const cache = new DnsCache();
    const found = await cache.lookup('localhost', { family: 4 });
    expect(found[0]?.address).toBe(localhost);
  });

  test.each([
    [{ ttlMs: Number.NaN }, 'ERR_INVALID_ARG_TYPE'],
    [{ maxEntries: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ lookup: 7 }, 'ERR_INVALID_ARG_TYPE'],
    [7, 'ERR_INVALID_ARG_TYPE'],
  ])('new DnsCache(%j) is refused', (options, code) => {
    expect(() => new DnsCache(options as never)).toThrow(expect.objectContaining({ code }));
  });
});
