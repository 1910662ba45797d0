/** Where what is read lies (lib/loop/backend.ts, rule 5), on the policy under test. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bench, benchForEach, connect, type Recorder, turns } from './backend-support.ts';

benchForEach();

const hash = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');

/** Bytes that differ from place to place and from stream to stream. */
function pattern(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed * 13) & 255;
  return bytes;
}

describe.each(['tcp', 'unix'] as const)('%s', (family) => {
  // More than have memory of their own on pure; small and large messages, in turn.
  test('chunks of many streams stay as they were, whatever their sizes', async () => {
    const sizes = [300_000, 1, 70_000, 4096, 20_000, 5, 100, 4097, 30, 7, 9, 64, 2, 150_000];
    const pairs = await Promise.all(Array.from({ length: 80 }, () => bench.pair(family)));
    const sent = pairs.map(() => 0);
    for (const [round, size] of sizes.entries()) {
      pairs.forEach(({ c }, i) => {
        c.write(pattern(size, i + round));
        sent[i] = (sent[i] as number) + size;
      });
      await Promise.all(pairs.map(({ server }, i) => server.until(() => server.bytes === sent[i])));
    }
    for (const [i, { server }] of pairs.entries()) {
      const wanted = Buffer.concat(sizes.map((size, round) => pattern(size, i + round)));
      expect(hash(server.received)).toBe(hash(wanted));
    }
  });

  test('a pause in the middle of what was read holds the rest, in order', async () => {
    const { server, c, s } = await bench.pair(family);
    const data = pattern(200_000, 1);
    let fills = 0;
    server.buffer = new Uint8Array(1000);
    const onFilled = server.onFilled.bind(server);
    server.onFilled = (bytes: number): void => {
      onFilled(bytes);
      if (++fills % 7 === 0) {
        s.pause();
        setImmediate(() => s.resume());
      }
    };
    s.setReadInto(true);
    c.write(data);
    c.shutdown();
    await server.until(() => server.events.includes('eof'));
    expect(hash(server.received)).toBe(hash(data));
  });

  test('who stops reading into its memory in the middle gets the rest as a chunk', async () => {
    const { server, c, s } = await bench.pair(family);
    const data = pattern(5000, 2);
    server.buffer = new Uint8Array(1000);
    const onFilled = server.onFilled.bind(server);
    server.onFilled = (bytes: number): void => {
      onFilled(bytes);
      s.setReadInto(false);
    };
    s.setReadInto(true);
    c.write(data);
    await server.until(() => server.bytes === 5000);
    c.write(pattern(5000, 3));
    await server.until(() => server.bytes === 10_000);
    expect(hash(server.received)).toBe(hash(Buffer.concat([data, pattern(5000, 3)])));
  });

  test('a connection that is opened while bytes are told reads its own', async () => {
    const listener = bench.listen(family);
    const address = await listener.listening;
    const client = await connect(bench.backend, address);
    const server = await listener.connection(0);
    let opening: Promise<Recorder> | undefined;
    server.hooks.data = (): void => {
      opening ??= connect(bench.backend, address);
    };
    // Large, so that on pure the next read goes elsewhere.
    const data = pattern(100_000, 4);
    client.handle?.write(data);
    await server.until(() => server.bytes === data.length);
    const other = await (opening as Promise<Recorder>);
    const otherServer = await listener.connection(1);
    otherServer.handle?.write(pattern(50_000, 5));
    other.handle?.write(pattern(50_000, 6));
    client.handle?.write(data);
    await other.until(() => other.bytes === 50_000);
    await otherServer.until(() => otherServer.bytes === 50_000);
    await server.until(() => server.bytes === 2 * data.length);
    expect(hash(other.received)).toBe(hash(pattern(50_000, 5)));
    expect(hash(otherServer.received)).toBe(hash(pattern(50_000, 6)));
    expect(hash(server.received)).toBe(hash(Buffer.concat([data, data])));
  });

  test('one that is paused at once reads nothing until it goes on', async () => {
    const { client, c, s } = await bench.pair(family);
    c.pause();
    s.write('held');
    await turns();
    expect(client.bytes).toBe(0);
    c.resume();
    await client.until(() => client.bytes === 4);
  });
});
