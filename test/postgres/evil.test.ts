/** Servers that break the protocol: an error, in bounded time and memory. */
import { Buffer } from 'node:buffer';
import { pbkdf2Sync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import type { Connection, ConnectOptions } from '../../lib/postgres/types.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { inRun } from '../task/support.ts';
import { evilTest, options, outcome } from './evil.ts';
import {
  authOk,
  type Client,
  dataRow,
  described,
  describeRow,
  errorMessage,
  int16,
  int32,
  message,
  ready,
  type Script,
  scramServer,
  started,
  withFake,
} from './fake.ts';
import { residentBytes } from './support.ts';

// --- Before the session

type StartCase = readonly [title: string, script: Script, message: RegExp, more?: ConnectOptions];

const afterStartup =
  (...parts: (string | Uint8Array)[]): Script =>
  async (client) => {
    await client.startup();
    await client.send(...parts);
    await client.ended();
  };

const scram =
  (wrong: Parameters<typeof scramServer>[1]): Script =>
  async (client) => {
    await client.startup();
    await scramServer(client, wrong);
    await client.ended();
  };

/** What the same takes on this thread; the least of a few, for a busy machine. */
function computeMs(): number {
  const times = [0, 1, 2, 3].map(() => {
    const beginMs = performance.now();
    pbkdf2Sync('secret', 'some salt', 100_000, 32, 'sha256');
    return performance.now() - beginMs;
  });
  return Math.min(...times);
}

/** Milliseconds from one turn of the loop to the next. */
function watchGaps(): { end(): number[] } {
  const gaps: number[] = [];
  let last = performance.now();
  const note = (): void => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  };
  const ticking = setInterval(note, 1);
  return {
    end() {
      clearInterval(ticking);
      note();
      return gaps;
    },
  };
}

const starts: readonly StartCase[] = [
  ['closes at once', async () => {}, /closed the connection/],
  ['closes after the start-up message', async (c) => void (await c.startup()), /closed/],
  ['says something that is no message', afterStartup('HTTP/1.1 400 Bad\r\n\r\n'), /protocol/],
  ['sends an unknown type', afterStartup(message('!', 'x')), /unknown type/],
  ['sends a negative length', afterStartup('R', int32(-1)), /of -1 bytes/],
  ['sends a length below 4', afterStartup('R', int32(3)), /of 3 bytes/],
  ['announces 2 GiB', afterStartup('R', int32(0x7fffffff)), /of 2147483647 bytes/],
  ['announces a large message before authentication', afterStartup('E', int32(70_000)), /70000/],
  ['wants an unknown method', afterStartup(message('R', int32(99))), /method 99/],
  ['wants Kerberos', afterStartup(message('R', int32(7))), /method 7/],
  ['wants a method without saying which', afterStartup(message('R')), /its kind/],
  ['sends a salt of three bytes', afterStartup(message('R', int32(5), 'abc')), /salt/],
  ['is ready before authentication', afterStartup(ready), /before authentication/],
  ['has data before authentication', afterStartup(dataRow(int32(1))), /before authentication/],
  ['authenticates twice', afterStartup(authOk, authOk), /second authentication/],
  ['starts inside a transaction', afterStartup(authOk, message('Z', 'T')), /at the start/],
  ['sends rows before it is ready', afterStartup(authOk, dataRow(int32(1))), /at the start/],
  ['has a key that is too short', afterStartup(authOk, message('K', int32(1))), /cancellation key/],
  ['has a key that is too long', afterStartup(authOk, message('K', Buffer.alloc(600))), /key/],
  ['has a parameter without end', afterStartup(authOk, message('S', 'a\0b')), /have no end/],
  ['has an error without end', afterStartup(message('E', 'SFATAL')), /malformed error/],
  [
    'sends notices without end',
    async (c) => {
      await c.startup();
      for (;;) await c.send(message('N', 'SNOTICE\0MHi\0\0').toString('latin1').repeat(100));
    },
    /no end of its start-up/,
  ],
  ['has no SASL mechanism of ours', afterStartup(message('R', int32(10), 'OTHER\0\0')), /OTHER/],
  ['goes on with SCRAM before it began', afterStartup(message('R', int32(11), 'r=x')), /order/],
  ['ends SCRAM before it began', afterStartup(message('R', int32(12), 'v=x')), /end of SCRAM/],
  ['wants 2,000,000,000 iterations', scram({ iterations: '2000000000' }), /iterations/],
  ['wants 100,001 iterations', scram({ iterations: '100001' }), /100001 iterations/],
  ['wants no iterations', scram({ iterations: '0' }), /no number/],
  ['wants iterations that are no number', scram({ iterations: '1e3' }), /no number/],
  ['repeats our nonce', scram({ nonce: (nonce) => nonce }), /add to our nonce/],
  ['has a nonce of its own', scram({ nonce: () => 'other' }), /add to our nonce/],
  ['has an empty salt', scram({ salt: '' }), /salt is no base64/],
  ['has a salt that is no base64', scram({ salt: '***' }), /salt is no base64/],
  ['leaves the salt out', scram({ first: (first) => first.replace(/s=[^,]*,/, '') }), /no 's'/],
  ['has a wrong signature', scram({ signature: () => 'AAAA' }), /signature is wrong/],
  ['has a signature that is no base64', scram({ signature: () => '!' }), /base64/],
  ['skips the end of SCRAM', scram({ skipFinal: true }), /did not prove/],
  [
    'asks for the password in clear after SCRAM',
    async (c) => {
      await c.startup();
      await c.send(message('R', int32(10), 'SCRAM-SHA-256\0\0'));
      await c.until('p');
      await c.send(message('R', int32(3)));
      await c.ended();
    },
    /second method/,
  ],
  ['is silent', async (c) => void (await c.ended()), /time limit/, { timeoutMs: 60 }],
  [
    'falls silent in SCRAM',
    afterStartup(message('R', int32(10), 'SCRAM-SHA-256\0\0')),
    /time limit/,
    { timeoutMs: 60 },
  ],
  [
    'falls silent when it is asked for TLS',
    async (c) => void (await c.ended()),
    /time limit/,
    { timeoutMs: 60, tls: 'require' },
  ],
  [
    'drips one byte at a time',
    async (c) => {
      await c.startup();
      for (const byte of started) {
        await c.send(Uint8Array.of(byte));
        await sleep(20);
      }
    },
    /time limit/,
    { timeoutMs: 100 },
  ],
];

describe('a server that', () => {
  const cases = starts.map(([title, script, wanted, more = {}]) => ({
    title,
    script,
    wanted,
    more,
  }));

  test.each(cases)('$title is refused', async ({ script, wanted, more }) => {
    await inRun(() =>
      withFake(script, async (port) => {
        const error = await outcome(() => connect({ ...options, ...more, port }));
        expect(error.message).toMatch(wanted);
      }),
    );
  });

  evilTest(
    'computes SCRAM correctly is accepted, and blocks nobody meanwhile',
    scram({ iterations: '100000' }),
    async (port) => {
      const limitMs = Math.min(50, computeMs() * 0.75);
      let longestMs = Infinity;
      // A busy machine also makes gaps, but not each time.
      for (let i = 0; i < 10 && longestMs >= limitMs; i++) {
        const gaps = watchGaps();
        const connection = await connect({ ...options, port });
        longestMs = Math.max(...gaps.end());
        await connection.close();
      }
      expect(longestMs).toBeLessThan(limitMs);
    },
  );

  evilTest(
    'speaks of an older protocol is accepted',
    async (client) => {
      await client.startup();
      await client.send(message('v', int32(3 << 16, 0)), started);
      await client.ended();
    },
    async (port) => (await connect({ ...options, port })).close(),
  );

  evilTest(
    'has no password to ask for gets none',
    async (client) => {
      await client.startup();
      await client.send(message('R', int32(3)));
      await client.ended();
    },
    async (port) => {
      const { password: _, ...rest } = options;
      const error = await outcome(() => connect({ ...rest, port, passfile: '/does/not/exist' }));
      expect(error.message).toMatch(/there is none/);
    },
  );
});

// --- In a session

async function answerOne(client: Client): Promise<void> {
  await client.send(described);
  await client.until('S');
  await client.send(message('2'), one, done, ready);
}

/** A query is answered, and what came beside it was dropped. */
const takesNoMemory =
  (boundBytes: number) =>
  async (port: number): Promise<void> => {
    const before = residentBytes();
    const connection = await connect({ ...options, port });
    expect(await connection.fetchVal('SELECT x')).toBe(1);
    expect(residentBytes() - before).toBeLessThan(boundBytes);
    connection.terminate();
  };

/** Plays `answer` to the first query. */
const answering =
  (answer: (client: Client) => Promise<void>): Script =>
  async (client) => {
    await client.startup();
    await client.send(started);
    await answer(client);
    await client.ended();
  };

/** The answer to Parse, then `parts` to Bind. */
const executing = (...parts: (string | Uint8Array)[]): Script =>
  answering(async (client) => {
    await client.until('H');
    await client.send(described);
    await client.until('S');
    await client.send(...parts);
  });

const preparing = (...parts: (string | Uint8Array)[]): Script =>
  answering(async (client) => {
    await client.until('H');
    await client.send(...parts);
  });

const done = message('C', 'SELECT 1\0');
const one = dataRow(int32(1));
const body = (...parts: (string | Uint8Array)[]): Buffer => message('D', ...parts);

type QueryCase = readonly [title: string, script: Script, message: RegExp];

const queries: readonly QueryCase[] = [
  ['closes in the middle of a query', executing(message('2'), one), /./],
  [
    'sends a row of two columns for one',
    executing(message('2'), dataRow(int32(1), int32(2))),
    /row/,
  ],
  ['sends a row of 65535 columns', executing(message('2'), body(int16(-1))), /row/],
  [
    'has a field beyond its message',
    executing(message('2'), body(int16(1), int32(900), 'x')),
    /row/,
  ],
  ['has a field of the length -2', executing(message('2'), body(int16(1), int32(-2))), /row/],
  [
    'has bytes behind the last field',
    executing(message('2'), body(int16(1), int32(-1), 'x')),
    /row/,
  ],
  ['announces a row of 2 GiB', executing(message('2'), 'D', int32(0x7ffffff0)), /bytes/],
  ['sends a row before its portal is bound', executing(one, message('2'), done, ready), /outside/],
  ['ends a result that did not begin', executing(done, ready), /did not begin/],
  ['ends a result twice', executing(message('2'), done, done, ready), /did not begin/],
  ['sends a row behind the end', executing(message('2'), done, one, ready), /outside/],
  ['binds twice', executing(message('2'), message('2'), one, done, ready), /second Bind/],
  ['sends data of a COPY for a query', executing(message('2'), message('d', 'x')), /'d'/],
  ['announces an error of 17 MiB', executing(message('2'), 'E', int32(17 << 20)), /bytes/],
  ['announces a tag of 64 KiB', executing(message('2'), 'C', int32(65_536)), /bytes/],
  ['authenticates anew', executing(message('2'), authOk), /'R'/],
  ['is ready before the result', executing(message('2'), ready), /before the result/],
  ['is ready twice', executing(message('2'), done, ready, ready), /nothing was asked/],
  ['goes on after it is ready', executing(message('2'), done, ready, one), /nobody asked/],
  ['has an unknown state', executing(message('2'), done, message('Z', 'X')), /transaction state/],
  ['has a tag without end', executing(message('2'), message('C', 'SELECT')), /without end/],
  ['answers with CopyBoth', executing(message('W', Buffer.alloc(3))), /'W'/],
  ['describes 65535 parameters in no bytes', preparing(message('t', int16(-1))), /parameters/],
  ['describes 65535 columns in no bytes', preparing(message('T', int16(-1))), /columns/],
  ['describes a column without a name', preparing(message('T', int16(1), 'abc')), /columns/],
  ['sends a row in place of a description', preparing(one), /after Parse/],
  ['is ready in place of a description', preparing(ready), /before the description/],
  ['sends an unknown message', executing(message('y')), /unknown type/],
  ['sends a notification without end', executing(message('A', int32(1), 'abc')), /no end/],
];

async function failing(connection: Connection): Promise<Error> {
  // The second one sees what the server adds behind its first answer.
  const error = await outcome(async () => {
    await connection.fetch('SELECT x');
    await sleep(20);
    await connection.fetch('SELECT x');
  });
  return error;
}

describe('a server that, in a session,', () => {
  test.each([...queries])('%s loses the connection', async (title, script, wanted) => {
    await inRun(() =>
      withFake(script, async (port) => {
        const connection = await connect({ ...options, port, commandTimeoutMs: 5_000 });
        const error = await failing(connection);
        if (!title.startsWith('closes')) {
          const text = `${error.message} ${(error.cause as Error | undefined)?.message ?? ''}`;
          expect(text).toMatch(wanted);
          expect(connection.closed).toBe(true);
        }
        connection.terminate();
      }),
    );
  });

  evilTest(
    'is silent runs into the time limit, and is closed when it does not hear of it',
    answering(async (client) => void (await client.until('H'))),
    async (port) => {
      const connection = await connect({ ...options, port });
      // biome-ignore lint/suspicious/noExplicitAny: a limit that users cannot set.
      (connection as any).session.wire.graceMs = 50;
      const error = await outcome(() => connection.with({ timeoutMs: 30 }).fetch('SELECT x'));
      expect(error.name).toBe('TimeoutError');
      await sleep(80);
      expect(connection.closed).toBe(true);
    },
  );

  evilTest(
    'falls silent in the middle of a row runs into the time limit',
    executing(message('2'), dataRow(Buffer.alloc(4)).subarray(0, 9)),
    async (port) => {
      const connection = await connect({ ...options, port });
      // biome-ignore lint/suspicious/noExplicitAny: a limit that users cannot set.
      (connection as any).session.wire.graceMs = 50;
      const error = await outcome(() => connection.with({ timeoutMs: 30 }).fetch('SELECT x'));
      expect(error.name).toBe('TimeoutError');
      expect((await outcome(() => connection.fetch('SELECT x'))).message).toMatch(
        /closed|No answer/,
      );
      connection.terminate();
    },
  );

  evilTest(
    'floods with notifications that nobody listens to takes no memory',
    answering(async (client) => {
      await client.until('H');
      const notification = message('A', int32(1), 'channel\0', `${'x'.repeat(7_000)}\0`);
      // Made once: it is the same process whose memory is counted.
      const flood = Buffer.concat(Array(20).fill(notification));
      for (let i = 0; i < 600; i++) await client.connection.write(flood);
      await answerOne(client);
    }),
    takesNoMemory(60e6),
  );

  evilTest(
    'sends a field that is not of its type fails the query, and only that',
    answering(async (client) => {
      await client.until('H');
      await client.send(described);
      await client.until('S');
      await client.send(message('2'), dataRow(Buffer.from('abc')), done, ready);
      await client.until('S');
      await client.send(message('2'), one, done, ready);
    }),
    async (port) => {
      const connection = await connect({ ...options, port });
      const error = await outcome(() => connection.fetch('SELECT x'));
      expect(error.message).toMatch(/malformed int4/);
      connection.terminate();
    },
  );

  evilTest(
    'sends an array with huge dimensions in few bytes fails the query',
    answering(async (client) => {
      await client.until('H');
      await client.send(message('1'), message('t', int16(0)), describeRow(['x', 1007]));
      await client.until('S');
      const array = int32(1, 0, 23, 0x7fffffff, 1);
      await client.send(message('2'), dataRow(array), done, ready);
    }),
    async (port) => {
      const connection = await connect({ ...options, port });
      const error = await outcome(() => connection.fetch('SELECT x'));
      expect(error.message).toMatch(/malformed int4\[\]: its dimensions/);
      connection.terminate();
    },
  );

  evilTest(
    'floods with notices takes no memory',
    answering(async (client) => {
      const notice = message('N', `SNOTICE\0M${'x'.repeat(1_000)}\0\0`);
      const flood = Buffer.concat(new Array<Buffer>(60).fill(notice));
      for (let i = 0; i < 300; i++) await client.connection.write(flood);
      await client.until('H');
      await answerOne(client);
    }),
    takesNoMemory(64 * 1024 * 1024),
  );

  const reports = Array.from({ length: 300 }, (_, i) => {
    return message('S', `p${i}\0${'x'.repeat(60_000)}\0`);
  });
  evilTest(
    'reports parameters without end takes no memory',
    answering(async (client) => {
      // The server lives in the same process: what it sends is made before memory is counted.
      for (const report of reports) await client.connection.write(report);
    }),
    async (port) => {
      const before = residentBytes();
      const connection = await connect({ ...options, port });
      const error = await outcome(() => connection.fetch('SELECT x'));
      const text = `${error.message} ${(error.cause as Error | undefined)?.message ?? ''}`;
      expect(text).toMatch(/more than 256 parameters/);
      expect(residentBytes() - before).toBeLessThan(64 * 1024 * 1024);
    },
  );

  evilTest(
    'announces a gigabyte and sends little takes no memory',
    executing(message('2'), 'D', int32(0x3fff_0000), Buffer.alloc(1_000)),
    async (port) => {
      const before = residentBytes();
      const connection = await connect({ ...options, port, commandTimeoutMs: 50 });
      expect((await outcome(() => connection.fetch('SELECT x'))).name).toBe('TimeoutError');
      expect(residentBytes() - before).toBeLessThan(32 * 1024 * 1024);
      connection.terminate();
    },
  );

  evilTest(
    'does not close after FATAL is left at once, and says why',
    executing(message('2'), errorMessage('FATAL', '57P01', 'shutting down')),
    async (port) => {
      const connection = await connect({ ...options, port });
      const error = await outcome(() => connection.fetch('SELECT x'));
      expect(error).toMatchObject({ name: 'PostgresConnectionError', code: '57P01' });
      expect(error.message).toBe('shutting down');
      expect(connection.closed).toBe(true);
    },
  );

  evilTest(
    'sends its messages byte by byte is understood',
    async (client) => {
      await client.startup();
      for (const byte of started) await client.send(Uint8Array.of(byte));
      await client.until('H');
      for (const byte of described) await client.send(Uint8Array.of(byte));
      await client.until('S');
      const rows = Buffer.concat([message('2'), one, one, done, ready]);
      for (const byte of rows) {
        await client.send(Uint8Array.of(byte));
        await sleep(0);
      }
      await client.ended();
    },
    async (port) => {
      const connection = await connect({ ...options, port });
      expect(await connection.fetch('SELECT x')).toEqual([{ x: 1 }, { x: 1 }]);
      await connection.close();
    },
  );
});

// --- TLS
