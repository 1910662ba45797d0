/** The rest of a long answer, which is left to the kernel for a while. */
import { describe, expect, test } from 'vitest';
import type { Transport } from '../../lib/io/protocols.ts';
import { connect } from '../../lib/postgres/connection.ts';
import { PostgresError } from '../../lib/postgres/errors.ts';
import { Patience } from '../../lib/postgres/patience.ts';
import { Statement } from '../../lib/postgres/statement.ts';
import type { ConnectOptions } from '../../lib/postgres/types.ts';
import type { Loop } from '../../lib/postgres/wire.ts';
import { failure, inRun } from '../task/support.ts';
import { type Client, dataRow, errorMessage, int32, message, ready, withFake } from './fake.ts';
import { connectionTest, withServer } from './support.ts';

const KiB = 1024;

/** A transport and a loop that note what they are asked for. */
function subject(tls = false) {
  const asked: number[] = [];
  const timers: { onTimer(): void }[] = [];
  const transport = {
    tls: tls ? {} : null,
    setLeastRead: (bytes: number) => asked.push(bytes) > 0,
  } as unknown as Transport;
  const loop = {
    time: () => 0,
    armTimer: (_at: number, target: { onTimer(): void }) => timers.push(target),
    setTimerRef: () => {},
    cancelTimer: () => timers.pop() !== undefined,
  } as unknown as Loop;
  return { asked, timers, transport, patience: new Patience(loop) };
}

describe('how much is waited for', () => {
  // covers: uvio/pipelining
  test('once its first bytes are here, a long answer is waited for up to its last piece', () => {
    const { asked, transport, patience } = subject();
    patience.sent(50 * KiB);
    patience.settle(transport, 1, 50 * KiB, 0);
    expect(asked).toEqual([]);
    patience.settle(transport, 1, 50 * KiB, 8 * KiB);
    expect(asked).toEqual([40 * KiB + 1]);
    patience.settle(transport, 1, 50 * KiB, 48 * KiB);
    expect(asked).toEqual([40 * KiB + 1, 1]);
  });

  test.each([
    ['is not known', 0],
    ['is short', 4 * KiB],
    ['has one more piece', 16 * KiB],
  ])('an answer whose length %s is not', (_, bytes) => {
    const { asked, transport, patience } = subject();
    patience.sent(bytes);
    patience.settle(transport, 1, bytes, Math.min(8 * KiB, bytes / 2));
    expect(asked).toEqual([]);
  });

  test('of a very long one no more than 256 KiB at a time', () => {
    const { asked, transport, patience } = subject();
    patience.sent(10_000 * KiB);
    patience.settle(transport, 1, 10_000 * KiB, 8 * KiB);
    patience.settle(transport, 1, 10_000 * KiB, 300 * KiB);
    expect(asked).toEqual([256 * KiB]);
  });

  test('with TLS a record less, of which a part may be here', () => {
    const { asked, transport, patience } = subject(true);
    patience.sent(50 * KiB);
    patience.settle(transport, 1, 50 * KiB, 8 * KiB);
    expect(asked).toEqual([23 * KiB + 1]);
  });

  test('what is late is taken as it comes, and the next ones, too', () => {
    const { asked, timers, transport, patience } = subject();
    patience.sent(50 * KiB);
    patience.settle(transport, 1, 50 * KiB, 8 * KiB);
    timers.pop()?.onTimer();
    expect(asked).toHaveLength(1);
    timers.pop()?.onTimer();
    expect(asked).toEqual([40 * KiB + 1, 1]);
    expect(timers).toEqual([]);
    for (let i = 0; i < 4; i++) {
      patience.settle(transport, 1, 50 * KiB, 8 * KiB);
      expect(asked).toHaveLength(2);
      patience.answered(50 * KiB);
    }
    patience.settle(transport, 1, 50 * KiB, 8 * KiB);
    expect(asked).toHaveLength(3);
  });

  test('behind the last of a long answer and short ones nothing is waited for', () => {
    const { asked, transport, patience } = subject();
    patience.sent(50 * KiB);
    for (let i = 0; i < 8; i++) patience.sent(0);
    patience.settle(transport, 9, 50 * KiB, 8 * KiB);
    patience.settle(transport, 9, 50 * KiB, 49 * KiB);
    expect(asked).toEqual([40 * KiB + 1, 1]);
  });

  test('queries that are sent meanwhile do not put off the end of the wait', () => {
    const { asked, timers, transport, patience } = subject();
    for (let i = 0; i < 20; i++) patience.sent(100);
    patience.settle(transport, 20, 100, 0);
    timers.pop()?.onTimer();
    patience.sent(100);
    patience.settle(transport, 21, 100, 0);
    expect(asked).toEqual([1425, 1500]);
    timers.pop()?.onTimer();
    expect(asked).toEqual([1425, 1500, 1]);
  });

  test('the end of the connection leaves no timer', () => {
    const { timers, transport, patience } = subject();
    patience.sent(50 * KiB);
    patience.settle(transport, 1, 50 * KiB, 8 * KiB);
    expect(timers).toHaveLength(1);
    patience.end();
    expect(timers).toEqual([]);
  });

  test('a short answer is forgotten after 128 longer ones', () => {
    const statement = new Statement('', '', [], null);
    statement.answered(50);
    statement.answered(20);
    for (let i = 0; i < 62; i++) statement.answered(100);
    expect(statement.answerBytes).toBe(20);
    for (let i = 0; i < 63; i++) statement.answered(100);
    expect(statement.answerBytes).toBe(20);
    statement.answered(100);
    expect(statement.answerBytes).toBe(100);
  });
});

for (const tls of ['disable', 'require'] as const) {
  withServer(`answers of all lengths, TLS: ${tls}`, () => longAnswers({ tls }));
}

function longAnswers(options: ConnectOptions): void {
  connectionTest(
    'longer and shorter ones than before come whole',
    async (connection) => {
      const sql = "SELECT repeat('x', 100) AS x, i FROM generate_series(1, $1) i";
      for (const count of [1_000, 1_000, 3_000, 150, 1_000, 90, 0, 1_000, 400, 6_000]) {
        const rows = await connection.fetch<{ x: string; i: number }>(sql, count);
        expect(rows.map(({ i }) => i)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
        expect(new Set(rows.map(({ x }) => x)).size).toBe(Math.min(count, 1));
      }
    },
    options,
  );

  connectionTest(
    'an error behind the first rows, and a cancellation between them, are told of',
    async (connection) => {
      const sql = "SELECT repeat('x', 1000), 1 / ($1 - i) FROM generate_series(1, 100) i";
      for (let i = 0; i < 3; i++) expect(await connection.fetch(sql, 1000)).toHaveLength(100);
      expect(await failure(connection.fetch(sql, 30))).toMatchObject({ code: '22012' });
      expect(await connection.fetch(sql, 1000)).toHaveLength(100);
      const slow =
        "SELECT repeat('x', 1000), pg_sleep($1 * (i / 50)) FROM generate_series(1, 90) i";
      await connection.fetch(slow, 0);
      const controller = new AbortController();
      const late = connection.with({ signal: controller.signal }).fetch(slow, 60);
      setTimeout(() => controller.abort(new Error('enough')), 20);
      expect(String(await failure(late))).toMatch('enough');
      expect(await connection.fetch(slow, 0)).toHaveLength(90);
    },
    options,
  );
}

/** Rows of that many messages, of 11 bytes each. */
function rowsOf(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => dataRow(int32(7))));
}

const begin = message('2');
const end = Buffer.concat([message('C', 'SELECT 1\0'), ready]);

/** Answers twice with 60 KB, and then as the script says. */
function withLongAnswers(
  script: (client: Client) => Promise<void>,
  use: (fetch: () => Promise<unknown[]>) => Promise<void>,
): Promise<void> {
  return inRun(() =>
    withFake(
      async (client) => {
        await client.startStatement();
        for (let i = 0; i < 2; i++) {
          await client.until('S');
          await client.send(begin, rowsOf(4_000), end);
        }
        await client.until('S');
        await script(client);
      },
      async (port) => {
        const server = { host: '127.0.0.1', port, user: 'u', database: 'd' } as const;
        const connection = await connect({ ...server, tls: 'disable' });
        const fetch = (): Promise<unknown[]> => connection.fetch('SELECT x');
        for (let i = 0; i < 2; i++) expect(await fetch()).toHaveLength(4_000);
        await use(fetch);
        await connection.close().catch(() => {});
      },
    ),
  );
}

describe('in the middle of a long answer', () => {
  test('an end that comes early is told of', () =>
    withLongAnswers(
      async (client) => {
        await client.send(begin, rowsOf(1_000));
        await client.send(rowsOf(200), end);
        await client.until('S');
        await client.send(begin, rowsOf(1), end);
        await client.ended();
      },
      async (fetch) => {
        expect(await fetch()).toHaveLength(1_200);
        expect(await fetch()).toHaveLength(1);
      },
    ));

  test('an error is told of', () =>
    withLongAnswers(
      async (client) => {
        await client.send(begin, rowsOf(1_000));
        await client.send(errorMessage('ERROR', '22012', 'division by zero'), ready);
        await client.ended();
      },
      async (fetch) => expect(await failure(fetch())).toBeInstanceOf(PostgresError),
    ));

  test('the end of the connection is told of', () =>
    withLongAnswers(
      async (client) => client.send(begin, rowsOf(1_000)),
      async (fetch) => expect(String(await failure(fetch()))).toMatch('closed the connection'),
    ));
});
