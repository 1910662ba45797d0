/** Workers of `runApp`: programs of several threads, and what becomes of them when some die. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { WorkerLoad, WorkerMetrics } from '../../lib/http/index.ts';
import { policyName } from '../support/policy.ts';
import { eventually, missingWorkers } from '../support/worker-program.ts';
import { ask, buildProgram, type Client, Load, Program, refused } from './workers-support.ts';

beforeAll(buildProgram);

function socketPath(): string {
  return join(tmpdir(), `uvio-workers-${process.pid}`);
}

/** What those with `/slow` said at their end that they had handled. */
function handledBy(program: Program): number {
  const counts = program.lines.map((line) => Number(/ handled (\d+)$/.exec(line)?.[1] ?? 0));
  return counts.reduce((sum, one) => sum + one);
}

// Programs, which mostly start and wait: side by side. Other work beside them slows their start.
// Ten programs at once: sanitized, on two slow cores, each takes its time.
const limitMs = process.env['UVIO_SANITIZED'] ? 300_000 : 30_000;

describe.skipIf(missingWorkers !== null).concurrent('workers', { timeout: limitMs }, () => {
  // covers: gunicorn/workers
  test('each serves on the shared port, one tells of all, and dead ones come again', async () => {
    await using program = await Program.start();
    expect(program.lines[0]).toMatch(/^Running on http:\/\/127\.0\.0\.1:\d+\/ with 2 workers$/);
    await tellOfAll(program);
    await die(program, '/throw', /Worker \d died; .* 100 ms\nError: a bug.*code: 'EBUG'/s);
    await die(program, '/exit', /Worker \d ended with exit code 5; it starts again in \d00 ms\n/);
    program.say('break 1');
    await die(program, 'kill', /exit code 1; it starts again.*died; it starts.*no database/s);
    program.say('break 0');
    await eventually(() => program.allServe());
    const restarts = (await program.metrics()).map((one) => one.restarts);
    expect((restarts[0] as number) + (restarts[1] as number)).toBeGreaterThanOrEqual(4);
    expect(await program.end('SIGTERM')).toEqual([1, null]);
    expect(program.lines.filter((line) => line.startsWith('worker '))).toHaveLength(2);
    expect(program.lines.at(-1)).toBe('the end');
  });

  test('when none serves and none can start again, the program ends with the error', async () => {
    await using program = await Program.start();
    const [one, two] = (await program.reach(2)) as [Client, Client];
    program.say('break 1');
    for (const { threadId } of [one, two]) program.say(`kill ${threadId}`);
    expect(await program.end()).toEqual([1, null]);
    expect(program.errors.match(/it starts again/g)?.length).toBeGreaterThanOrEqual(8);
    expect(program.errors).toMatch(/BrokenResourceError: No worker serves.*cause.*no database/s);
    expect(program.lines).not.toContain('the end');
  });

  test('SIGTERM under load loses no request that was accepted', async () => {
    await using program = await Program.start({ drainMs: 2_000 });
    const [one, two] = (await program.reach(2)) as [Client, Client];
    const load = new Load(program.place);
    await eventually(async () => load.answered > 300);
    const slow = [one.ask('/slow/400'), two.ask('/slow/300')];
    await program.slow(2);
    const ended = program.end('SIGTERM');
    expect((await Promise.all(slow)).map(({ text }) => text)).toEqual(['slept', 'slept']);
    for (const client of [one, two]) await client.close();
    expect(await ended).toEqual([0, null]);
    await load.end();
    expect(load.lost).toBe(0);
    expect(handledBy(program)).toBe(load.answered + 2);
    expect(await refused(program.place)).toBe(true);
    expect(program.errors).toBe('');
  });

  test('a second signal ends the process at once', async () => {
    await using program = await Program.start();
    const asked = ask(program.place, '/slow/60000').catch(() => 'lost');
    await program.slow(1);
    program.child.kill('SIGINT');
    await eventually(() => refused(program.place));
    expect(await program.end('SIGINT')).toEqual([null, 'SIGINT']);
    expect(await asked).toBe('lost');
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

  test('a worker that does not stop, or whose program does not end, is stopped', async () => {
    await using program = await Program.start({ shutdownTimeoutMs: 0, after: 'hang' });
    const [, two] = (await program.reach(2)) as [Client, Client];
    const lost = two.ask('/block').catch(() => 'lost');
    await eventually(async () => !(await program.allServe()));
    expect(await program.end('SIGTERM')).toEqual([0, null]);
    expect(program.errors.match(/Worker \d did not end in time and was stopped/g)).toHaveLength(2);
    expect(await lost).toBe('lost');
  });

  test('they serve TLS; a cancelled runApp closes them; another one is refused', async () => {
    await using program = await Program.start({ after: 'again', secure: true });
    const asked = ask(program.place, '/slow/300');
    await program.slow(1);
    program.say('cancel');
    expect((await asked).text).toBe('slept');
    expect(await program.end()).toEqual([1, null]);
    expect(handledBy(program)).toBe(1);
    expect(program.errors.match(/Worker \d failed as it ended\nError: a bad end/g)).toHaveLength(2);
    expect(program.errors).toMatch(/runApp\(\) with workers can be called once in a program/);
  });

  test.runIf(policyName === 'native')('all share a UNIX socket, which outlives them', async () => {
    const path = socketPath();
    await using program = await Program.start({ path, secure: true });
    const [one, two] = (await program.reach(2)) as [Client, Client];
    program.say(`kill ${one.threadId}`);
    await one.ended();
    expect(await two.ask('/who')).toMatchObject({ text: two.threadId });
    await eventually(() => program.allServe());
    const asked = ask(program.place, '/slow/200');
    await program.slow(1);
    const ended = program.end('SIGTERM');
    expect((await asked).text).toBe('slept');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(path)).toBe(false);
  });

  test.runIf(policyName === 'native')(
    'all share a descriptor that the program was given',
    async () => {
      const given = createServer().listen(0, '127.0.0.1');
      await once(given, 'listening');
      const { port } = given.address() as AddressInfo;
      const { fd } = (given as unknown as { _handle: { fd: number } })._handle;
      await using program = await Program.start({ fd: 3 }, fd);
      given.close();
      expect(program.place).toEqual({ port });
      for (const client of await program.reach(2)) await client.close();
      expect(await program.end('SIGTERM')).toEqual([0, null]);
      expect(await refused(program.place)).toBe(true);
    },
  );
});

async function tellOfAll(program: Program): Promise<void> {
  const [one, two] = (await program.reach(2)) as [Client, Client];
  expect([one.threadId, two.threadId].sort()).toEqual(['1', '2']);
  for (let i = 0; i < 10; i++) await one.ask('/who');
  let metrics: WorkerMetrics[] = [];
  // One that is slow to tell has none.
  await eventually(async () => {
    metrics = JSON.parse((await two.ask('/metrics')).text);
    return metrics.every(({ load }) => load !== null);
  });
  expect(metrics).toMatchObject([
    { worker: 1, state: 'serving', restarts: 0 },
    { worker: 2, state: 'serving', restarts: 0 },
  ]);
  const loads = metrics.map(({ load }) => load as WorkerLoad);
  const sum = (field: 'served' | 'requests' | 'connections'): number =>
    loads.reduce((all, load) => all + load[field], 0);
  expect(sum('served')).toBeGreaterThanOrEqual(12);
  expect(sum('requests')).toBe(1);
  expect(sum('connections')).toBeGreaterThanOrEqual(2);
  expect(loads[1]?.loop).toMatchObject({ tasks: expect.any(Number) });
  expect(await program.metrics()).toMatchObject([{ worker: 1 }, { worker: 2 }]);
}

/** One worker dies in the middle of a request; the other goes on. */
async function die(program: Program, how: string, told: RegExp): Promise<void> {
  const [one, two] = (await program.reach(2)) as [Client, Client];
  const beside = await program.reachThread(one.threadId);
  const lost = one.ask('/slow/60000').catch(() => 'lost');
  const kept = two.ask('/slow/200');
  await program.slow(2);
  if (how === 'kill') program.say(`kill ${one.threadId}`);
  else void beside.ask(how).catch(() => {});
  expect(await lost).toBe('lost');
  expect(await kept).toMatchObject({ status: 200 });
  expect(await two.ask('/who')).toMatchObject({ text: two.threadId });
  await program.error(told);
  if (how !== 'kill') await eventually(() => program.allServe());
}

test.runIf(policyName === 'pure')('on pure, what threads cannot share is ENOTSUP', async () => {
  await using program = new Program({ path: socketPath() });
  expect(await program.end()).toEqual([1, null]);
  expect(program.errors).toMatch(/ENOTSUP.*threads share.*only on native/s);
  if (missingWorkers === null) return;
  await using other = new Program();
  expect(await other.end()).toEqual([1, null]);
  expect(other.errors).toMatch(/ENOTSUP.*reusePort needs Node/s);
});
