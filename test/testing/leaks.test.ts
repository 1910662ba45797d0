import { AssertionError } from 'node:assert';
import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection, Server } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { createSubprocessExec, type Process } from '../../lib/process/process.ts';
import { runProcess } from '../../lib/process/run-process.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { assertNoLeaks, waitAllTasksBlocked } from '../../lib/testing/index.ts';
import { failure, never, realTimeTest, runTest } from '../task/support.ts';

const localhost = '127.0.0.1';

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

// covers: seeds/C26
describe('assertNoLeaks', () => {
  runTest('gives the result of a function that leaves nothing', async () => {
    expect(await assertNoLeaks(() => 5)).toBe(5);
    const result = await assertNoLeaks(async () => {
      await using server = await startServer(echo, { host: localhost });
      await using client = await openConnection({ host: localhost, port: server.port });
      await client.write('x');
      await createTask(() => sleep(1));
      return String(await client.readExactly(1));
    });
    expect(result).toBe('x');
  });

  runTest('waits for what is about to end', async () => {
    await assertNoLeaks(() => {
      createTask(async () => {
        for (let i = 0; i < 20; i++) await sleep(0);
      });
    });
    await using server = await startServer(echo, { host: localhost });
    // The handler's side closes a little later.
    await assertNoLeaks(async () => {
      const client = await openConnection({ host: localhost, port: server.port });
      await client.close();
    });
  });

  realTimeTest('finds a process', async () => {
    let left: Process | undefined;
    const error = await failure(
      assertNoLeaks(async () => {
        left = await createSubprocessExec('sleep', ['60'], { stdin: 'ignore' });
      }),
    );
    left?.kill();
    await left?.wait();
    expect(error.message).toBe('The function left behind:\n  processes: 1');
    await assertNoLeaks(() => runProcess(['true']));
  });

  runTest('finds a task, and says what it waits for', async () => {
    let left: Task | undefined;
    const before = createTask(() => sleepForever());
    const error = await failure(
      assertNoLeaks(async () => {
        left = createTask({ name: 'forgotten' }, () => sleepForever());
        await waitAllTasksBlocked();
      }),
    );
    expect(error).toBeInstanceOf(AssertionError);
    expect(error.message).toBe('The function left behind:\n  forgotten waits for sleepForever');
    await left?.cancelAndWait();
    await before.cancelAndWait();
  });

  runTest('finds timers', async () => {
    const loop = getRunningLoop();
    const before = loop.callLater(never, () => {});
    let left = before;
    const error = await failure(
      assertNoLeaks(() => {
        left = loop.callLater(2 ** 41, () => {});
      }),
    );
    expect(error.message).toBe('The function left behind:\n  timers: 1');
    left.cancel();
    before.cancel();
  });

  runTest('finds connections and listeners', async () => {
    const open: { server?: Server; client?: Connection } = {};
    const error = await failure(
      assertNoLeaks(async () => {
        open.server = await startServer(echo, { host: localhost });
        open.client = await openConnection({ host: localhost, port: open.server.port });
        await open.client.write('x');
        await open.client.read();
      }),
    );
    const [title, ...left] = error.message.split('\n');
    expect(title).toBe('The function left behind:');
    expect(left.map((line: string) => line.replace(/\d+ waits/, 'N waits'))).toEqual([
      '  Task-N waits for read',
      '  connections: 2',
      '  listeners: 1',
    ]);
    await open.client?.close();
    await open.server?.[Symbol.asyncDispose]();
  });

  runTest('lets an error and a cancellation through', async () => {
    const boom = new Error('boom');
    const fail = (): never => {
      throw boom;
    };
    expect(await failure(assertNoLeaks(fail))).toBe(boom);
    const task = createTask(() => assertNoLeaks(() => sleep(never)));
    await waitAllTasksBlocked();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
  });

  test('works outside of a run, and refuses a promise', async () => {
    expect(await assertNoLeaks(() => sleep(1, 'slept'))).toBe('slept');
    expect(await failure(assertNoLeaks(Promise.resolve() as never))).toBeInstanceOf(TypeError);
  });
});
