/** What a seed decides, and what it never touches. */
import { describe, expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { Agenda } from '../../lib/loop/simulated/agenda.ts';
import { Random } from '../../lib/loop/simulated/random.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import {
  explore,
  type SimulatedPolicy,
  type SimulationOptions,
  simulated,
} from '../../lib/testing/index.ts';

const localhost = '127.0.0.1';

function go<T>(policy: SimulatedPolicy, main: () => Promise<T>): Promise<T> {
  return run(main, { policy, handleSignals: false });
}

/** Clients and a server that do some of everything: sleep, write, give up, break. */
async function busyMain(): Promise<string[]> {
  const log: string[] = [];
  getRunningLoop().setExceptionHandler(() => log.push('reported'));
  const handler = async (connection: Connection): Promise<void> => {
    for await (const line of connection.lines()) {
      await sleep(line.length % 3);
      await connection.write(`${line}!\n`);
    }
  };
  await using server = await startServer(handler, { host: localhost });
  const talk = async (id: number): Promise<void> => {
    try {
      await using client = await openConnection({ host: localhost, port: server.port });
      for (let round = 0; round < 3; round++) {
        await client.write(`client ${id} round ${round}\n`);
        const line = await moveOnAfter(12, () => client.readLine());
        log.push(`${currentTime()} ${id} ${line}`);
      }
    } catch (error) {
      log.push(`${currentTime()} ${id} ${(error as Error).name}`);
    }
  };
  await taskGroup((group) => {
    for (let id = 0; id < 6; id++) group.createTask(talk, id);
  });
  return log;
}

describe('the same seed', () => {
  test.each<[number, string, SimulationOptions]>([
    [200, 'no latency', {}],
    [50, 'latency from a range', { latencyMs: [0, 9] }],
    [50, 'a fixed latency and faults', { latencyMs: 2, breakRate: 0.3 }],
  ])(
    'gives the same trace and the same results, %d times: %s',
    async (seeds, _name, options) => {
      const traces = new Set<string>();
      for (let seed = 0; seed < seeds; seed++) {
        const policy = simulated({ ...options, seed });
        const first = await go(policy, busyMain);
        const { trace } = policy;
        const again = await go(policy, busyMain);
        expect(again, `seed ${seed}`).toEqual(first);
        expect(policy.trace, `seed ${seed}`).toEqual(trace);
        traces.add(trace.join('\n'));
      }
      expect(traces.size).toBeGreaterThan(seeds * 0.9);
    },
    60_000,
  );

  test('reads the same from a new policy', async () => {
    const one = simulated({ seed: 11, latencyMs: [1, 5] });
    const two = simulated({ seed: 11, latencyMs: [1, 5] });
    expect(await go(one, busyMain)).toEqual(await go(two, busyMain));
    expect(one.trace).toEqual(two.trace);
    expect(one.trace.length).toBeGreaterThan(100);
  });
});

describe('seed 0', () => {
  test('is creation order: connections as they were opened, writes as they were made', async () => {
    const log: string[] = [];
    await go(simulated(), async () => {
      const handler = async (connection: Connection): Promise<void> => {
        for await (const chunk of connection) log.push(String(chunk));
      };
      await using server = await startServer(handler, { host: localhost });
      await taskGroup((group) => {
        for (let id = 0; id < 5; id++) {
          group.createTask(async () => {
            const client = await openConnection({ host: localhost, port: server.port });
            await client.write(`${id}a`);
            await client.write(`${id}b`);
            await client.close();
          });
        }
      });
    });
    expect(log).toEqual(['0a', '1a', '2a', '3a', '4a', '0b', '1b', '2b', '3b', '4b']);
  });
});

describe('no seed', () => {
  test('touches the order of callbacks, task starts, timers, or bytes', async () => {
    await explore(
      (policy) =>
        go(policy, async () => {
          const log: string[] = [];
          const loop = getRunningLoop();
          for (const name of ['a', 'b', 'c']) {
            loop.callSoon(() => log.push(`soon ${name}`));
            createTask(async () => log.push(`task ${name}`));
            loop.callLater(1, () => log.push(`timer ${name}`));
          }
          await sleep(2);
          expect(log).toEqual([
            ...['soon a', 'task a', 'soon b', 'task b', 'soon c', 'task c'],
            ...['timer a', 'timer b', 'timer c'],
          ]);
          const sent = Buffer.from(Array.from({ length: 5_000 }, (_, i) => i % 251));
          const handler = async (connection: Connection): Promise<void> => {
            for (let at = 0; at < sent.length; at += 7) {
              await connection.write(sent.subarray(at, at + 7));
            }
          };
          await using server = await startServer(handler, { host: localhost });
          await using client = await openConnection({ host: localhost, port: server.port });
          expect((await client.readAll()).equals(sent)).toBe(true);
        }),
      { runs: 40, latencyMs: [0, 3] },
    );
  });
});

describe('other seeds', () => {
  test('cut and join what was written, in all ways', async () => {
    const seen = new Set<string>();
    await explore(
      async (policy) => {
        const chunks: string[] = [];
        await go(policy, async () => {
          const handler = async (connection: Connection): Promise<void> => {
            for await (const chunk of connection) chunks.push(String(chunk));
          };
          await using server = await startServer(handler, { host: localhost });
          const client = await openConnection({ host: localhost, port: server.port });
          await client.write('one ');
          await client.write('two');
          await client.close();
          await sleep(1);
        });
        expect(chunks.join('')).toBe('one two');
        seen.add(chunks.join('|'));
      },
      { runs: 100 },
    );
    expect(seen).toContain('one |two');
    expect(seen).toContain('one two');
    expect(seen.size).toBeGreaterThan(10);
  });

  test('shuffle who comes first of several connections', async () => {
    const orders = new Set<string>();
    await explore(
      async (policy) => {
        let order = '';
        await go(policy, async () => {
          const handler = async (connection: Connection): Promise<void> => {
            const name = await connection.read();
            order += name;
          };
          await using server = await startServer(handler, { host: localhost });
          await taskGroup((group) => {
            for (const name of 'abc') {
              group.createTask(async () => {
                await using client = await openConnection({ host: localhost, port: server.port });
                await client.write(name);
                await client.read();
              });
            }
          });
        });
        orders.add(order);
      },
      { runs: 100 },
    );
    expect([...orders].sort()).toEqual(['abc', 'acb', 'bac', 'bca', 'cab', 'cba']);
  });
});

describe('Random and Agenda', () => {
  test('numbers are spread, and those of neighbouring seeds differ', () => {
    const firsts = new Set<number>();
    const wholes = new Set<number>();
    for (let seed = 0; seed < 1_000; seed++) {
      const random = new Random(seed);
      firsts.add(random.next());
      const numbers = Array.from({ length: 100 }, () => random.next());
      for (const number of numbers) wholes.add(Math.floor(number));
      for (let i = 0; i < 20; i++) wholes.add(random.upTo(3) * 10);
      const mean = numbers.reduce((sum, number) => sum + number) / numbers.length;
      expect(Math.abs(mean - 0.5)).toBeLessThan(0.2);
    }
    expect(firsts.size).toBe(1_000);
    expect([...wholes].sort()).toEqual([0, 10, 20, 30]);
  });

  test('happenings come by time, rank and order; cancelled ones do not', () => {
    const random = new Random(1);
    for (let round = 0; round < 50; round++) {
      const agenda = new Agenda();
      const log: number[] = [];
      const wanted: { atMs: number; rank: number; id: number }[] = [];
      for (let id = 0; id < 200; id++) {
        const [atMs, rank] = [random.upTo(10), random.upTo(3)];
        const happening = agenda.add(atMs, rank, () => log.push(id));
        if (random.chance(0.2)) happening.work = null;
        else wanted.push({ atMs, rank, id });
      }
      wanted.sort((a, b) => a.atMs - b.atMs || a.rank - b.rank || a.id - b.id);
      expect(agenda.nearest()).toBe(wanted[0]?.atMs);
      expect(agenda.takeDue(0, agenda.added)).toBeNull();
      for (let nowMs = 1; nowMs <= 10; nowMs++) {
        for (;;) {
          const work = agenda.takeDue(nowMs, agenda.added);
          if (work === null) break;
          work();
        }
        expect(log).toEqual(wanted.filter((one) => one.atMs <= nowMs).map((one) => one.id));
      }
      expect(agenda.nearest()).toBe(Number.POSITIVE_INFINITY);
    }
  });
});
