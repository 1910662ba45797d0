/** Bytes that are not worth waking for (lib/loop/backend.ts), on the policy under test. */
import { describe, expect, test } from 'vitest';
import { bench, benchForEach, turns } from './backend-support.ts';

benchForEach();

describe.each(['tcp', 'unix'] as const)('%s', (family) => {
  test('fewer bytes than setLeastRead() wait for more, for less, or for the end', async () => {
    const { client, server, c, s } = await bench.pair(family);
    const waits = c.setLeastRead?.(100) === true;
    s.write('a'.repeat(99));
    await turns();
    if (waits) expect(client.bytes).toBe(0);
    s.write('b');
    await client.until(() => client.bytes === 100);
    s.write('c');
    await turns();
    c.setLeastRead?.(1);
    await client.until(() => client.bytes === 101);
    c.setLeastRead?.(100);
    s.write('d');
    s.close();
    await client.until(() => client.events.includes('eof'));
    expect(client.bytes).toBe(102);
    c.close();
    await Promise.all([client.closed(), server.closed()]);
    expect(c.setLeastRead?.(1) ?? false).toBe(false);
  });
});
