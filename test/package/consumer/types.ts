import { type Connection, native, openConnection, pure, run } from 'uvio';
import { type AsyncFile, atomicWrite, openFile, watch } from 'uvio/fs';

async function main(): Promise<number> {
  const connection: Connection = await openConnection({ port: 1 });
  const line: string | null = await connection.readLine();
  return line?.length ?? 0;
}

export async function files(path: string): Promise<number> {
  await using text: AsyncFile<string> = await openFile(path, 'a+', { encoding: 'latin1' });
  await using bytes: AsyncFile<Buffer> = await openFile(path, 'r', { encoding: null });
  await atomicWrite(path, await bytes.read(1), { mode: 0o600 });
  for await (const { filename } of watch(path, { recursive: true })) return filename.length;
  const line: string = await text.readLine();
  return line.length + (await bytes.read()).length;
}

export const result: Promise<number> = run(main, {
  policy: process.argv.length > 2 ? native({ required: true }) : pure(),
});
