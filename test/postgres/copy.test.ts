/** COPY in both directions, notifications, notices. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReadableStream, WritableStream } from 'node:stream/web';
import { expect } from 'vitest';
import type { Connection, Notification, PostgresError } from '../../lib/postgres/index.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { failure } from '../task/support.ts';
import { connectionTest, open, residentBytes, withServer } from './support.ts';

async function table(connection: Connection, rows: number): Promise<void> {
  await connection.execute(`CREATE TEMP TABLE t (a int, b text);
    INSERT INTO t SELECT i, 'text ' || i FROM generate_series(1, ${rows}) i`);
}

function collector(): { chunks: Buffer[]; output: (chunk: Buffer) => void; text: () => string } {
  const chunks: Buffer[] = [];
  const output = (chunk: Buffer): void => void chunks.push(chunk);
  return { chunks, output, text: () => Buffer.concat(chunks).toString() };
}

async function* parts(...list: (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  yield* list;
}

// covers: asyncpg/copy-from-table
withServer('COPY out', () => {
  connectionTest('calls a function with chunks', async (connection) => {
    await table(connection, 3);
    const { output, text } = collector();
    expect(await connection.copyFromTable('t', { output })).toBe('COPY 3');
    expect(text()).toBe('1\ttext 1\n2\ttext 2\n3\ttext 3\n');
  });

  connectionTest('has columns, formats and their options', async (connection) => {
    await table(connection, 2);
    const csv = collector();
    const options = { format: 'csv', header: true, delimiter: ';', quote: "'", null: 'N' } as const;
    await connection.copyFromTable('t', { ...options, columns: ['b', 'a'], output: csv.output });
    expect(csv.text()).toBe('b;a\ntext 1;1\ntext 2;2\n');
    const binary = collector();
    await connection.copyFromTable('t', { format: 'binary', output: binary.output });
    expect(binary.text().slice(0, 6)).toBe('PGCOPY');
  });

  connectionTest('writes to a path and to a stream', async (connection) => {
    await table(connection, 2_000);
    const folder = mkdtempSync(join(tmpdir(), 'uvio-copy-'));
    const path = join(folder, 'out');
    await connection.copyFromTable('t', { output: path });
    expect(readFileSync(path, 'utf8').split('\n').length).toBe(2_001);
    rmSync(folder, { recursive: true });
    let bytes = 0;
    let closed = false;
    const output = new WritableStream<Uint8Array>({
      write: (chunk) => void (bytes += chunk.length),
      close: () => void (closed = true),
    });
    await connection.copyFromTable('t', { output });
    expect([bytes > 10_000, closed]).toEqual([true, true]);
  });

  connectionTest('waits for a slow receiver', async (connection) => {
    let bytes = 0;
    const before = residentBytes();
    await connection.copyFromQuery("SELECT repeat('x', 1000) FROM generate_series(1, 50000)", [], {
      output: async (chunk) => {
        if (bytes < 2_000_000) await sleep(1);
        bytes += chunk.length;
      },
    });
    expect(bytes).toBe(50_000 * 1_001);
    expect(residentBytes() - before).toBeLessThan(120e6);
  });

  connectionTest('does not hold rows back while the server works on', async (connection) => {
    const sizes: number[] = [];
    const sql =
      'SELECT i, pg_sleep(CASE i WHEN 3000 THEN 0.3 ELSE 0 END) FROM generate_series(1, 3001) i';
    const beganMs = performance.now();
    let firstMs = 0;
    await connection.copyFromQuery(sql, [], {
      output: (chunk) => {
        if (sizes.length === 0) firstMs = performance.now() - beganMs;
        sizes.push(chunk.length);
      },
    });
    expect(sizes.length).toBeGreaterThan(1);
    expect(firstMs).toBeLessThan(performance.now() - beganMs);
    expect(sizes.reduce((a, b) => a + b)).toBe(16_899);
  });

  connectionTest('that fails has given what came before', async (connection) => {
    const { output, text } = collector();
    const sql = 'SELECT 10000 / (5000 - i) FROM generate_series(1, 6000) i';
    const error = await failure(connection.copyFromQuery(sql, [], { output }));
    expect(error).toMatchObject({ code: '22012' });
    expect(text().split('\n').length).toBe(5000);
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });

  connectionTest('of a query takes arguments, and no text as SQL', async (connection) => {
    const { output, text } = collector();
    const sql = `SELECT $1::int, $2::text, '$1', "x$2y", $$ $1 $$, $3::text /* $1 */ -- $2
      FROM (SELECT 1 AS "x$2y") s`;
    await connection.copyFromQuery(sql, [5, "it's \\ $1", null], { output });
    expect(text()).toBe("5\tit's \\\\ $1\t$1\t1\t $1 \t\\N\n");
    const places = 'SELECT ($1::int[])[2], $1[1] FETCH FIRST $2 ROWS ONLY';
    expect(await connection.copyFromQuery(places, [[7, 8], 1], { output: () => {} })).toBe(
      'COPY 1',
    );
    const wrong = connection.copyFromQuery('SELECT $1::int', [1, 2], { output });
    expect((await failure(wrong)).message).toMatch(/parameters/);
  });

  connectionTest('that fails, or whose receiver fails, is an error', async (connection) => {
    await table(connection, 20_000);
    const { output } = collector();
    expect(await failure(connection.copyFromTable('none', { output }))).toMatchObject({
      code: '42P01',
    });
    const receiver = connection.copyFromTable('t', {
      output: () => {
        throw new Error('of the receiver');
      },
    });
    expect((await failure(receiver)).message).toBe('of the receiver');
    const late = connection.copyFromQuery('SELECT 1/(900-i) FROM generate_series(1,1000) i', [], {
      output,
    });
    expect(await failure(late)).toMatchObject({ code: '22012' });
    expect(await failure(connection.copyFromTable('t', { output: 5 as never }))).toMatchObject({
      name: 'InterfaceError',
    });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});

// covers: asyncpg/copy-from-table
withServer('COPY in', () => {
  connectionTest('reads async iterables, streams and paths', async (connection) => {
    await table(connection, 0);
    const source = parts('1\ta\n2\t', Buffer.from('b\n'));
    expect(await connection.copyToTable('t', { source })).toBe('COPY 2');
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(Buffer.from('3,"c,d"\n'));
        controller.close();
      },
    });
    await connection.copyToTable('t', { source: stream, format: 'csv' });
    const folder = mkdtempSync(join(tmpdir(), 'uvio-copy-'));
    writeFileSync(join(folder, 'in'), '4\n5\n');
    await connection.copyToTable('t', { source: join(folder, 'in'), columns: ['a'] });
    rmSync(folder, { recursive: true });
    expect((await connection.fetch('SELECT * FROM t')).map((row) => [...row])).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c,d'],
      [4, null],
      [5, null],
    ]);
  });

  connectionTest('takes back what COPY out gave', async (connection) => {
    await table(connection, 1_000);
    for (const format of ['text', 'csv', 'binary'] as const) {
      const { chunks, output } = collector();
      await connection.copyFromTable('t', { output, format });
      await connection.execute('TRUNCATE t');
      await connection.copyToTable('t', { source: parts(...chunks), format });
      expect(await connection.fetchVal('SELECT sum(a) FROM t')).toBe(500_500n);
    }
  });

  connectionTest('opens its source when the server wants it', async (connection) => {
    const folder = mkdtempSync(join(tmpdir(), 'uvio-copy-'));
    const path = join(folder, 'data');
    writeFileSync(path, '1\n');
    let pulled = 0;
    const stream = new ReadableStream<Uint8Array>(
      { pull: () => void pulled++ },
      { highWaterMark: 0 },
    );
    try {
      for (const source of [path, stream]) {
        const broken = connection.copyToTable('no_such_table', { source });
        expect(await failure(broken)).toMatchObject({ code: '42P01' });
      }
      expect([pulled, stream.locked]).toEqual([0, false]);
      // A file that was being opened is open by now.
      for (let i = 0; i < 8; i++) await readFile(path);
      const open = process.platform === 'linux' ? readdirSync('/proc/self/fd') : [];
      const names = open
        .map((fd) => `/proc/self/fd/${fd}`)
        .filter((link) => existsSync(link))
        .map((link) => readlinkSync(link));
      expect(names.filter((name) => name === path)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  connectionTest('does all or nothing', async (connection) => {
    await table(connection, 0);
    const bad = connection.copyToTable('t', { source: parts('1\ta\n', 'x\tb\n') });
    expect(await failure(bad)).toMatchObject({ code: '22P02' });
    const throwing = connection.copyToTable('t', {
      source: (async function* () {
        yield '1\ta\n';
        throw new Error('of the source');
      })(),
    });
    expect((await failure(throwing)).message).toBe('of the source');
    const wrong = connection.copyToTable('t', { source: parts(5 as never) });
    expect(await failure(wrong)).toMatchObject({ name: 'InterfaceError' });
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('of records has the types of the columns', async (connection) => {
    await connection.execute(
      'CREATE TEMP TABLE r (a int, b text, c timestamptz, d jsonb, e int[])',
    );
    const date = new Date('2020-01-01T00:00:00Z');
    const records = [
      [1, 'x', date, { k: [1] }, [1, 2]],
      [2, null, null, null, []],
    ];
    expect(await connection.copyRecordsToTable('r', { records })).toBe('COPY 2');
    const rows = (await connection.fetch('SELECT * FROM r ORDER BY a')).map((row) => [...row]);
    expect(rows).toEqual(records);
    async function* more(): AsyncGenerator<readonly unknown[]> {
      for (let i = 0; i < 10_000; i++) yield [i, 'text'];
    }
    const options = { records: more(), columns: ['a', 'b'], where: 'a % 2 = 0' };
    expect(await connection.copyRecordsToTable('r', options)).toBe('COPY 5000');
  });

  connectionTest('of records that do not fit names the record', async (connection) => {
    await table(connection, 0);
    const records = [
      [1, 'a'],
      [2, 3],
    ];
    const wrong = await failure(connection.copyRecordsToTable('t', { records }));
    expect(wrong.message).toMatch(/record 2, column 2 \(text\): expected a string/);
    const short = await failure(connection.copyRecordsToTable('t', { records: [[1]] }));
    expect(short.message).toMatch(/Record 1 is no array of 2 values/);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('quotes names', async (connection) => {
    await connection.execute('CREATE TEMP TABLE "we""ird; t" ("a b" int)');
    const source = parts('1\n');
    expect(await connection.copyToTable('we"ird; t', { source, columns: ['a b'] })).toBe('COPY 1');
    const other = connection.copyToTable('t', { source: parts(), schema: 'x"; DROP TABLE t' });
    expect(await failure(other)).toMatchObject({ code: '3F000' });
    const format = connection.copyToTable('t', { source: parts(), format: 'x' as never });
    expect(await failure(format)).toMatchObject({ name: 'InterfaceError' });
  });
});

// covers: asyncpg/listeners
withServer('listeners', () => {
  connectionTest('hear notifications of others and of themselves', async (connection) => {
    const heard: Notification[] = [];
    const listener = (notification: Notification): unknown => heard.push(notification);
    await connection.addListener('a channel', listener);
    await connection.fetch("SELECT pg_notify('a channel', 'own')");
    const other = await open();
    await other.execute(`NOTIFY "a channel", 'foreign'`);
    while (heard.length < 2) await sleep(1);
    expect(heard.map(({ channel, payload }) => [channel, payload])).toEqual([
      ['a channel', 'own'],
      ['a channel', 'foreign'],
    ]);
    expect(heard[1]?.pid).toBe(other.serverPid);
    await other.close();
    await connection.removeListener('a channel', listener);
    await connection.fetch("SELECT pg_notify('a channel', 'late')");
    expect(heard.length).toBe(2);
    expect(await connection.fetchVal('SELECT count(*) FROM pg_listening_channels()')).toBe(0n);
  });

  connectionTest('of one channel are all called', async (connection) => {
    const heard: string[] = [];
    const first = (): unknown => heard.push('first');
    const second = (): unknown => heard.push('second');
    await connection.addListener('c', first);
    await connection.addListener('c', second);
    await connection.execute('NOTIFY c');
    await connection.removeListener('c', first);
    await connection.execute('NOTIFY c');
    expect(heard).toEqual(['first', 'second', 'second']);
    await connection.removeListener('d', first);
  });

  connectionTest('hear notices', async (connection) => {
    const heard: PostgresError[] = [];
    const listener = (message: PostgresError): unknown => heard.push(message);
    connection.addLogListener(listener);
    const sql = "DO $$ BEGIN RAISE WARNING 'careful'; RAISE NOTICE 'fyi'; END $$";
    await connection.execute(sql);
    connection.removeLogListener(listener);
    await connection.execute(sql);
    expect(heard.map(({ severity, message }) => [severity, message])).toEqual([
      ['WARNING', 'careful'],
      ['NOTICE', 'fyi'],
    ]);
  });

  connectionTest('of a channel that the server would cut are refused', async (connection) => {
    const fits = 'x'.repeat(63);
    await connection.addListener(fits, () => {});
    for (const name of [`${fits}x`, 'ü'.repeat(32)]) {
      const refused = connection.addListener(name, () => {});
      expect((await failure(refused)).message).toMatch(/at most 63 bytes/);
    }
  });

  connectionTest('that are no functions are refused', async (connection) => {
    const wrong = 5 as never;
    expect(() => connection.addLogListener(wrong)).toThrow(TypeError);
    expect(() => connection.addQueryLogger(wrong)).toThrow(TypeError);
    expect(() => connection.addTerminationListener(wrong)).toThrow(TypeError);
    expect(await failure(connection.addListener('c', wrong))).toBeInstanceOf(TypeError);
    expect(await failure(connection.addListener('', () => {}))).toMatchObject({
      name: 'InterfaceError',
    });
  });
});
