import { expect } from 'vitest';
import { runTest } from '../task/support.ts';
import { tlsPair } from './tls-support.ts';

runTest('bytes go both ways', async () => {
  await using pair = await tlsPair();
  const { client, served } = pair;
  await client.write('hello');
  expect(String(await served.read())).toBe('hello');
  await served.write('world');
  expect(String(await client.read())).toBe('world');
  expect(client.tls).toMatchObject({ protocol: 'TLSv1.3', authorized: true });
  await Promise.all([client.close(), served.close()]);
});
