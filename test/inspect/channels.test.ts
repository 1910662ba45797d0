/** What uvio publishes on diagnostics channels. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import { type BlockedReport, channels, monitorLoop } from '../../lib/inspect/index.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { checkpoint, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { runTest } from '../task/support.ts';

/** Listens while `body` runs. */
async function messagesOf<T>(name: string, body: () => unknown): Promise<T[]> {
  const seen: T[] = [];
  const listen = (message: unknown): void => void seen.push(message as T);
  subscribe(name, listen);
  try {
    await body();
  } finally {
    unsubscribe(name, listen);
  }
  return seen;
}

// covers: seeds/C19
describe('diagnostics channels', () => {
  test('have the names of the list', () => {
    expect(channels).toEqual([
      'uvio:task.spawned',
      'uvio:task.exited',
      'uvio:task.cancelled',
      'uvio:loop.blocked',
      'uvio:connection.opened',
      'uvio:connection.closed',
      'uvio:tls.failed',
    ]);
  });

  runTest('tell of tasks that are spawned, cancelled, and have exited', async () => {
    const body = async (): Promise<void> => {
      await createTask({ name: 'quick' }, () => {});
      const task = createTask({ name: 'slow' }, () => sleepForever());
      await checkpoint();
      await task.cancelAndWait('enough');
    };
    type Message = { task: Task; error?: { reason: unknown } };
    const names = (messages: Message[]): string[] => messages.map(({ task }) => task.name);
    expect(names(await messagesOf('uvio:task.spawned', body))).toEqual(['quick', 'slow']);
    const exited = await messagesOf<Message>('uvio:task.exited', body);
    expect(names(exited)).toEqual(['quick', 'slow']);
    expect(exited.map(({ task }) => task.cancelled)).toEqual([false, true]);
    const cancelled = await messagesOf<Message>('uvio:task.cancelled', body);
    expect(names(cancelled)).toEqual(['slow']);
    expect(cancelled[0]?.error?.reason).toBe('enough');
  });

  runTest('tell of connections of clients and servers that open and close', async () => {
    const body = async (): Promise<void> => {
      await using server = await startServer((connection) => connection.write('x'), {
        host: '127.0.0.1',
      });
      const client = await openConnection({ host: '127.0.0.1', port: server.port });
      await client.readAll();
      await client.close();
    };
    type Message = { connection: { remoteAddress: { address: string } | null } };
    const opened = await messagesOf<Message>('uvio:connection.opened', body);
    expect(opened).toHaveLength(2);
    for (const { connection } of opened) {
      expect(connection).toHaveProperty('remoteAddress');
    }
    expect(await messagesOf('uvio:connection.closed', body)).toHaveLength(2);
  });

  runTest('tell of a blocked loop while a monitor is on', async () => {
    const blocked = await messagesOf<BlockedReport>('uvio:loop.blocked', async () => {
      using _ = monitorLoop({ thresholdMs: 20, onBlocked: () => {} });
      await createTask({ name: 'heavy' }, () => {
        const endMs = performance.now() + 40;
        while (performance.now() < endMs);
      });
      await checkpoint();
    });
    expect(blocked.map(({ task }) => task?.name)).toContain('heavy');
  });
});
