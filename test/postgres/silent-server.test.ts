/** A server that answers no longer, while nobody hears of the end of its connection. */
import { expect } from 'vitest';
import { createPool } from '../../lib/postgres/pool.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { timeout } from '../../lib/task/timeout.ts';
import { failure, virtualTest } from '../task/support.ts';
import { options } from './evil.ts';
import {
  type Client,
  dataRow,
  described,
  int32,
  message,
  ready,
  started,
  withFake,
} from './fake.ts';

/** Answers one query, and then nothing. */
async function oneAnswer(client: Client): Promise<void> {
  const { code } = await client.startup();
  if (code === 3 << 16) {
    await client.send(started);
    await client.until('H');
    await client.send(described);
    await client.until('S');
    await client.send(message('2'), dataRow(int32(7)), message('C', 'SELECT 1\0'), ready);
  }
  await client.ended();
}

const now = (): number => currentLoop().time();

virtualTest('a query of a pool ends at its time limit, and its connection is left', () =>
  withFake(oneAnswer, async (port) => {
    const pool = await createPool({ ...options, port, minSize: 1, maxSize: 1 });
    expect(await pool.fetchVal('SELECT x')).toBe(7);
    const beganMs = now();
    const late = pool.with({ timeoutMs: 200 }).fetchVal('SELECT x');
    expect(await failure(late)).toMatchObject({ name: 'TimeoutError' });
    expect(now() - beganMs).toBe(200);
    expect(pool.size).toBe(1);
    // The next one gets a connection that is new, and answers.
    expect(await pool.fetchVal('SELECT x')).toBe(7);
    expect(now() - beganMs).toBeLessThan(6_000);
    pool.terminate();
  }),
);

virtualTest('so does one that is cancelled', () =>
  withFake(oneAnswer, async (port) => {
    const pool = await createPool({ ...options, port, minSize: 1, maxSize: 1 });
    expect(await pool.fetchVal('SELECT x')).toBe(7);
    const beganMs = now();
    const late = timeout(200, () => pool.fetchVal('SELECT x'));
    expect(await failure(late)).toMatchObject({ name: 'TimeoutError' });
    expect(now() - beganMs).toBe(200);
    await pool.close();
    expect(now() - beganMs).toBeLessThan(11_000);
  }),
);
