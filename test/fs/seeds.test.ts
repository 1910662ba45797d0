/** The examples of the texts that uvio started from, with files. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openFile } from '../../lib/fs/index.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { gather } from '../../lib/task/combinators.ts';
import { fsTest } from './support.ts';

// covers: seeds/E8
fsTest('E8: what was written is read', async (folder) => {
  const path = join(folder, 'example.txt');
  {
    await using file = await openFile(path, 'w');
    await file.write('Hello, async world!');
  }
  await using file = await openFile(path, 'r');
  expect(await file.read()).toBe('Hello, async world!');
});

// covers: seeds/C17
fsTest('C17: a file is sent through a connection and written again', async (folder) => {
  const lines = Array.from({ length: 5000 }, (_, i) => `line ${i} é`);
  writeFileSync(join(folder, 'from'), lines.join('\n'));
  const server = await startServer(
    async (connection) => {
      await using file = await openFile(join(folder, 'from'), 'r', { encoding: null });
      for await (const chunk of file) await connection.write(chunk);
    },
    { host: '127.0.0.1' },
  );
  {
    await using connection = await openConnection({ host: '127.0.0.1', port: server.port });
    await using file = await openFile(join(folder, 'to'), 'w');
    for await (const chunk of connection) await file.write(chunk);
  }
  server.close();
  await server.waitClosed();
  await using copy = await openFile(join(folder, 'to'));
  const found: string[] = [];
  for await (const line of copy) found.push(line);
  expect(found).toEqual(lines);
});

// covers: seeds/X1
fsTest('X1: many files are read at once, and come in order', async (folder) => {
  const paths = Array.from({ length: 200 }, (_, i) => join(folder, `${i}`));
  for (const [i, path] of paths.entries()) writeFileSync(path, `content ${i}`);
  const texts = await gather(
    paths.map((path) => async () => {
      await using file = await openFile(path);
      return await file.read();
    }),
    { limit: 64 },
  );
  expect(texts).toEqual(paths.map((_, i) => `content ${i}`));
});
